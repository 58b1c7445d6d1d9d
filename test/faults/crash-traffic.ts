import { setTimeout as sleep } from 'node:timers/promises'
import { startLoad } from '../support/load.ts'
import type { Receiver } from '../support/receiver.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { type LogLoad, startLogLoad } from './crash-log.ts'

/** The requests of one event at the receiver. */
export interface Seen {
  requests: number
  /** The number of requests to which the receiver responded with 200. */
  ok: number
  /** The number of requests of each attempt, by the number of the attempt. */
  readonly attempts: Map<number, number>
}
/** A mixed load on one webhook, and the responses that its callers got. */
export interface Traffic {
  readonly webhook: string
  /** Ids of events that got a 202, alone or in a batch. */
  accepted(): string[]
  /** Returns whether an event with this id was posted, with or without a response. */
  mayBe(id: string): boolean
  /** Batches as lists of ids: those with a 202, and those without a response. */
  readonly batches: { readonly accepted: string[][]; readonly unknown: string[][] }
  /** Ids that got a 202 a second time, with other content. */
  readonly clashes: ReadonlySet<string>
  /** Deliveries whose replay got a 202. */
  readonly replayed: ReadonlySet<string>
  /** The descriptions of the webhook are rising numbers. These are the last number that got a 200 and the last number sent. */
  readonly described: { readonly acknowledged: number; readonly sent: number }
  /** The requests by webhook-id. */
  readonly seen: ReadonlyMap<string, Seen>
  readonly log: LogLoad
  /** Returns the number of requests with a wrong signature. */
  unsigned(): number
  stop(): Promise<void>
}

/** The number of events that are posted to each API in a second, beside the batches. */
const perSecond = 40
/**
 * The number of events in a batch. It is more than the slots and the waiting room that `crash-processes.ts` gives a webhook, so that some are
 * parked.
 */
const batchSize = 540

/**
 * Starts a mixed load: events, batches, repeated events with the same and with other content, changes of the webhook, reads of its history, erasures of
 * tenants, heads of the audit log, and replays of one delivery and of all failed ones. The receiver responds to a tenth of the requests with 503, and to some with 400, which ends a delivery. A caller that cannot
 * reach the service tries again.
 * @param round a number that makes the ids of this load unique
 */
export async function traffic(urls: readonly string[], receiver: Receiver, round: number, random: () => number): Promise<Traffic> {
  const api = await clientOf(urls[0]!)
  const path = `/round-${round}`
  const seen = new Map<string, Seen>()
  receiver.setResponse(path, ({ headers }, response) => {
    const id = String(headers['webhook-id'])
    const attempt = Number(headers['kolbak-attempt'])
    const chance = random()
    const status = chance < 0.01 ? 400 : chance < 0.1 ? 503 : 200
    const arrival = seen.get(id) ?? { requests: 0, ok: 0, attempts: new Map<number, number>() }
    seen.set(id, arrival)
    arrival.requests++
    if (status === 200) arrival.ok++
    arrival.attempts.set(attempt, (arrival.attempts.get(attempt) ?? 0) + 1)
    response.writeHead(status).end()
  })
  const { id: webhook, secret } = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event: '*' })
  receiver.verify(path, secret)
  const log = await startLogLoad(api, receiver, round)

  const authorization = `Bearer ${api.token}`
  const first = round * 1_000_000
  const begunAt = new Date().toISOString()
  const loads = urls.map((url, i) => startLoad(url, authorization, { perSecond, from: first + i * 100_000 }))
  const batches = { accepted: [] as string[][], unknown: [] as string[][] }
  const clashes = new Set<string>()
  const replayed = new Set<string>()
  const described = { acknowledged: 0, sent: 0 }
  const alone = () => loads.flatMap((testLoad) => testLoad.accepted)
  const recent = () => loads.flatMap((testLoad) => testLoad.accepted.slice(-20))
  let turn = 0
  /** Sends a request to one of the APIs. Rejects when no response comes. */
  const call = async <T>(...[method, at, body]: Parameters<Client['call']>) => {
    const response = await fetch(`${urls[turn++ % urls.length]}${at}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    })
    const text = await response.text()
    return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as T }
  }
  let running = true
  const repeatWork = async (everyMs: number, work: () => Promise<void>) => {
    while (running) {
      await work().catch(() => undefined) // no response came, so the caller does not know the effect
      await sleep(everyMs)
    }
  }
  let batch = 0
  let otherCount = 0
  let former: string | null = null
  const works = [
    repeatWork(3_000, async () => {
      const ids = Array.from({ length: batchSize }, (_, i) => `batch_${round}_${batch}_${i}`)
      batch++
      batches.unknown.push(ids)
      const events = ids.map((id) => ({ id, event: 'batch.posted', payload: { id } }))
      if ((await call('POST', '/v1/events/batch', { events })).status !== 202) return
      batches.unknown.splice(batches.unknown.indexOf(ids), 1)
      batches.accepted.push(ids)
    }),
    repeatWork(300, async () => {
      const sent = ++described.sent
      const { status } = await call('PATCH', `/v1/webhooks/${webhook}`, { description: String(sent) })
      if (status === 200) described.acknowledged = sent
    }),
    repeatWork(400, async () => {
      const [id] = recent()
      if (id === undefined || clashes.has(id)) return
      const { status } = await call('POST', '/v1/events', { id, event: 'load.posted', payload: { other: true } })
      if (status === 202) clashes.add(id)
    }),
    repeatWork(200, async () => {
      const id = recent().at(-1)
      if (id !== undefined) await call('POST', '/v1/events', { id, event: 'load.posted', payload: { id } })
    }),
    repeatWork(500, async () => {
      const { body } = await call<{ data: { id: string }[] }>('GET', `/v1/webhooks/${webhook}/deliveries?status=success&limit=1`)
      const [delivery] = body.data
      if (delivery === undefined || replayed.has(delivery.id)) return
      const { status } = await call('POST', `/v1/deliveries/${delivery.id}/replay`)
      if (status === 202) replayed.add(delivery.id)
    }),
    repeatWork(300, async () => {
      await call('GET', `/v1/webhooks/${webhook}/history?limit=1`)
    }),
    repeatWork(1_000, async () => {
      await call('POST', `/v1/webhooks/${webhook}/replay`, { since: begunAt })
    }),
    // Other webhooks are created and deleted, each with one event, so that the first events of streams are also written under kills.
    repeatWork(1_000, async () => {
      const event = `round_${round}.other`
      const { status, body } = await call<WebhookResponse>('POST', '/v1/webhooks', { callback_url: receiver.url('/other'), event })
      if (status !== 201) return
      await call('POST', '/v1/events', { id: `batch_${round}_other_${otherCount++}`, event, payload: {} })
      if (otherCount > 1) await call('DELETE', `/v1/events/batch_${round}_other_${otherCount - 2}/payload`)
      if (former !== null) await call('DELETE', `/v1/webhooks/${former}`)
      former = body.id
    }),
    repeatWork(1_500, () => log.eraseTenant(call)),
  ]
  return {
    webhook,
    accepted: () => [...alone(), ...batches.accepted.flat()],
    mayBe(id) {
      const n = Number(/^evt_(\d+)$/.exec(id)?.[1])
      return (n >= first && n < first + 1_000_000) || id.startsWith(`batch_${round}_`)
    },
    batches,
    clashes,
    replayed,
    described,
    seen,
    log,
    unsigned: () => receiver.received(path).filter(({ verified }) => verified === false).length,
    async stop() {
      running = false
      await Promise.all([...loads.map((testLoad) => testLoad.stop()), ...works])
    },
  }
}
