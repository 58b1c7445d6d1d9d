import { setTimeout as sleep } from 'node:timers/promises'
import { giveUpAfterMs } from '../support/patience.ts'
import { allDeliveries, type Client, clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { logProblems } from './crash-log.ts'
import type { Traffic } from './crash-traffic.ts'

export interface Tally {
  readonly accepted: number
  readonly requests: number
  /**
   * One line for each repeated request. A delivery may get one 200 for each chain and for each timed-out attempt. Every further 200 counts as
   * repeated.
   */
  readonly duplicates: readonly string[]
}

/**
 * Waits until the service shows what its callers and its receiver saw, and then deletes the webhook. Throws an error with the differences that remain
 * after `giveUpAfterMs`.
 */
export async function expectAgreement(url: string, traffic: Traffic): Promise<Tally> {
  const end = performance.now() + giveUpAfterMs
  for (;;) {
    const { problems, tally } = await look(url, traffic).catch((error: unknown) => ({ problems: [String(error)], tally: null }))
    if (problems.length === 0 && tally !== null) {
      const api = await clientOf(url)
      for (const id of [traffic.webhook, traffic.log.subscriber]) await api.call('DELETE', `/v1/webhooks/${id}`)
      return tally
    }
    if (performance.now() > end)
      throw new Error(`${problems.length} differences remain after ${giveUpAfterMs} ms:\n${problems.slice(0, 20).join('\n')}`)
    await sleep(200)
  }
}

async function look(url: string, traffic: Traffic): Promise<{ problems: string[]; tally: Tally | null }> {
  const api = await clientOf(url)
  const { webhook, seen } = traffic
  const missing = traffic.accepted().filter((id) => !seen.has(id))
  // The pages of the API are read only when no event is missing, because reading all pages takes long.
  if (missing.length > 0) return { problems: missing.map((id) => `${id} was accepted and has not arrived`), tally: null }
  for (const status of ['pending', 'retrying']) {
    const { data } = await api.get<Page<DeliveryResponse>>(`/v1/webhooks/${webhook}/deliveries?status=${status}&limit=10`)
    if (data.length > 0) return { problems: data.map(({ event_id }) => `${event_id} is ${status}`), tally: null }
  }
  const deliveries = await allDeliveries(api, webhook)
  const problems = [
    ...ofDeliveries(deliveries, traffic),
    ...ofBatches(traffic),
    ...(await ofRejections(api, traffic)),
    ...(await ofCommands(api, traffic)),
    ...(await logProblems(api, traffic.log)),
    ...(await ofStoredAttempts(api, traffic, deliveries)),
  ]
  const sum = (numbers: readonly number[]) => numbers.reduce((total, value) => total + value, 0)
  const tally = {
    accepted: traffic.accepted().length,
    requests: sum([...seen.values()].map(({ requests }) => requests)),
    duplicates: deliveries.flatMap((delivery) => repeats(delivery, seen.get(delivery.event_id)?.ok ?? 0)),
  }
  return { problems, tally }
}

function repeats({ event_id, chain, attempts }: DeliveryResponse, ok: number): string[] {
  const withoutResponse = attempts.filter(({ response_code }) => response_code === null).length
  const recorded = attempts.map(
    (attempt) => `${attempt.chain}.${attempt.number} ${attempt.response_code ?? attempt.reason} at ${attempt.at}`,
  )
  const description = `${event_id} got 200 ${ok} times in ${chain} chains: ${recorded.join(', ')}`
  return Array.from({ length: Math.max(0, ok - chain - withoutResponse) }, () => description)
}

function ofDeliveries(deliveries: readonly DeliveryResponse[], traffic: Traffic): string[] {
  const problems: string[] = []
  const byEvent = new Map<string, DeliveryResponse>()
  for (const delivery of deliveries) {
    const { event_id: id, status, attempts } = delivery
    if (byEvent.has(id)) problems.push(`${id} was delivered as two deliveries`)
    byEvent.set(id, delivery)
    const seen = traffic.seen.get(id) ?? { requests: 0, ok: 0, attempts: new Map<number, number>() }
    if (status !== 'success' && status !== 'failed') problems.push(`${id} is ${status}`)
    const successes = attempts.filter((attempt) => attempt.status === 'success').length
    if (successes > seen.ok) problems.push(`${id} has ${successes} successes, of which the receiver saw ${seen.ok}`)
    if (status === 'success' && successes === 0) problems.push(`${id} is a success without an attempt that was one`)
    if (status === 'failed' && attempts.length === 0) problems.push(`${id} has failed without an attempt`)
    // An attempt without a response may have been made without its request reaching the receiver.
    const withResponse = attempts.filter(({ response_code }) => response_code !== null)
    for (const number of new Set(withResponse.map((attempt) => attempt.number))) {
      const recorded = withResponse.filter((attempt) => attempt.number === number).length
      const came = seen.attempts.get(number) ?? 0
      if (recorded > came) problems.push(`${id} has ${recorded} attempts ${number} with a response, of which the receiver saw ${came}`)
    }
    if (traffic.replayed.has(delivery.id) && delivery.chain < 2) problems.push(`${id} was replayed, and has one chain`)
  }
  for (const id of traffic.accepted()) if (!byEvent.has(id)) problems.push(`${id} was accepted, and is not in the history`)
  for (const id of traffic.seen.keys()) {
    if (!traffic.mayBe(id)) problems.push(`${id} arrived, and was never posted`)
    if (!byEvent.has(id)) problems.push(`${id} arrived, and is not in the history`)
  }
  const unsigned = traffic.unsigned()
  if (unsigned > 0) problems.push(`${unsigned} requests have a wrong signature`)
  return problems
}

/** Batches without a response must be whole or absent. */
const ofBatches = ({ batches, seen }: Traffic): string[] =>
  batches.unknown.flatMap((ids) => {
    const came = ids.filter((id) => seen.has(id)).length
    return came === 0 || came === ids.length ? [] : [`${came} events of the batch of ${ids[0]} have arrived, of ${ids.length}`]
  })

async function ofRejections(api: Client, { clashes }: Traffic): Promise<string[]> {
  const problems: string[] = []
  for (const id of clashes) {
    const { data } = await api.get<{ data: { status: string; has_rejections: boolean } }>(`/v1/events/${id}`)
    if (data.status !== 'routed') problems.push(`${id} is ${data.status}`)
    if (!data.has_rejections) problems.push(`${id} was posted with other content, and has no rejection`)
  }
  return problems
}

async function ofCommands(api: Client, { webhook, described }: Traffic): Promise<string[]> {
  const { description } = await api.get<WebhookResponse & { description: string | null }>(`/v1/webhooks/${webhook}`)
  const is = Number(description ?? 0)
  return is >= described.acknowledged && is <= described.sent
    ? []
    : [`the webhook is described as ${is}: ${described.acknowledged} was acknowledged, ${described.sent} the last`]
}

/**
 * Expects that no request was repeated although its attempt was stored. A chain then has two successes in the history, or the statistics, which count
 * every stored attempt, have more than the history shows.
 */
async function ofStoredAttempts(api: Client, { webhook }: Traffic, deliveries: readonly DeliveryResponse[]): Promise<string[]> {
  const { data } = await api.get<{ data: { totals: { success: number } } }>(`/v1/statistics/deliveries?webhook=${webhook}`)
  const successes = deliveries.flatMap(({ id, attempts }) =>
    attempts.filter(({ status }) => status === 'success').map(({ chain }) => `${id} in chain ${chain}`),
  )
  const counts = Map.groupBy(successes, (success) => success)
  const problems = [...counts].filter(([, { length }]) => length > 1).map(([success, { length }]) => `${success} has ${length} successes`)
  if (data.totals.success !== successes.length)
    problems.push(`${data.totals.success} successes are stored, and the history shows ${successes.length}`)
  return problems
}
