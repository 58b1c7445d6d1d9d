import type { DeliveryEvents } from '../events/delivery.ts'
import { webhooksPerPart } from '../events/delivery.ts'
import { rejectedId, routedId } from '../events/delivery-id.ts'
import type { EventId, Place, WebhookId } from '../events/ids.ts'
import { type Message, type MessageRecord, recordedRef } from '../events/message-record.ts'
import { firstAttempt, type MessageRef } from '../events/refs.ts'
import { sealEvent } from '../events/sealed-fields.ts'
import { routingStream } from '../events/streams.ts'
import { createGroupCommit, type GroupCommit, isDataError } from '../lib/group-commit.ts'
import type { Log } from '../lib/log.ts'
import { step } from '../lib/points.ts'
import { untilDone } from '../lib/retry.ts'
import type { BodyArchive, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { IndexedMessage, MessageIndex } from '../projections/message-index.ts'
import type { Deliver } from './deliver.ts'
import type { DispatchMetrics } from './metrics.ts'
import type { RoutingGate } from './routing-gate.ts'
import type { Schedule } from './schedule.ts'
import type { WebhookCache } from './webhook-cache.ts'

/** A message as it came from the bus. */
export interface Incoming {
  readonly record: MessageRecord
  readonly message: Message
  readonly place: Place
  /** Whether its partition is still ours. */
  held(): boolean
  /** It owes so many deliveries: what is in hand is bounded by them too. */
  owes(deliveries: number): void
  /** Sets its record aside, visibly: it cannot be routed, whoever tries. */
  refuse(error: unknown): Promise<unknown>
  /** Called once, when nothing of it is under way any more. @param done it is routed and each of its deliveries is attempted or parked, durably; false when it was lost on the way */
  settled(done: boolean): void
}
export interface Router {
  /** Resolves when the message is in the index and its deliveries have begun. */
  route(incoming: Incoming): Promise<void>
}
export interface RouteDeps {
  readonly gate: RoutingGate
  readonly copy: WebhookCache
  readonly index: MessageIndex
  readonly deliveryLog: Pick<BodyArchive, 'archive'> & Pick<DeliveryReads, 'states'>
  readonly schedule: Schedule
  readonly store: EventStore
  readonly deliver: Deliver
  readonly metrics: DispatchMetrics
  readonly log: Log
  now(): number
}

const refOf = ({ record, message, place }: Incoming): MessageRef => recordedRef(record, message, place)

/** Step 3 of a message's way: matches, archives, writes the message index, and starts the deliveries. */
export function createRouter(deps: RouteDeps): Router {
  const { gate, copy, index, deliveryLog, schedule, store, deliver, metrics, log, now } = deps

  const rowOf = (incoming: Incoming, webhooks: WebhookId[]): IndexedMessage => ({
    ...refOf(incoming),
    webhooks,
    matched_at: copy.checkpoint!,
  })
  const append = async (incoming: Incoming, id: EventId, type: 'MessageRouted' | 'MessageRejected', rest: object) => {
    const { record, message } = incoming
    const metadata = {
      actor: 'system:dispatcher' as const,
      tenant: record.tenant,
      time: new Date(now()).toISOString(),
      $correlationId: record.correlation_id,
      $causationId: null,
    }
    const data = { ...refOf(incoming), ...rest }
    const stream = routingStream(record.tenant, record.accepted_at)
    const event = sealEvent(null, stream, { id, type, data, metadata })
    const append = () => store.append(stream, [event], 'any', { patient: true })
    await untilDone(() => step(type === 'MessageRouted' ? 'route.append' : 'route.reject', append), {
      onError: (error, delayMs) => log.warn({ error, delayMs, message: message.id }, 'routing.append_failed'),
    })
  }
  const appendRouted = async (incoming: Incoming, row: IndexedMessage) => {
    const { message, place, record } = incoming
    const parts = Math.max(1, Math.ceil(row.webhooks.length / webhooksPerPart))
    for (let part = 0; part < parts; part++) {
      const webhooks = row.webhooks.slice(part * webhooksPerPart, (part + 1) * webhooksPerPart)
      const rest: Pick<DeliveryEvents['MessageRouted'], 'source' | 'event_time' | 'webhooks' | 'part' | 'parts' | 'matched_at'> = {
        source: message.source,
        event_time: message.event_time,
        webhooks: [...webhooks],
        part,
        parts,
        matched_at: row.matched_at,
      }
      await append(incoming, routedId(record.tenant, message.id, place, part), 'MessageRouted', rest)
    }
  }

  /** Starts what a routed message owes; it is done when MessageRouted is appended and each delivery attempted or parked. */
  const start = (incoming: Incoming, row: IndexedMessage, skip: ReadonlySet<string>) => {
    const owed = row.webhooks
      .map((webhook) => firstAttempt(row, webhook, incoming.record.correlation_id))
      .filter(({ delivery }) => !skip.has(delivery))
    incoming.owes(owed.length)
    let left = owed.length + 1
    let all = true
    const one = (done: boolean) => {
      all &&= done
      left--
      if (left === 0) incoming.settled(all)
    }
    const failed = (error: unknown) => {
      log.error({ error, message: incoming.message.id, place: incoming.place }, 'message.failed')
      one(false) // its offset stays: it comes again
    }
    // Behind the requests, which somebody waits for.
    setImmediate(() => {
      appendRouted(incoming, row).then(() => one(true), failed)
    })
    const origin = {
      fromTable: false,
      parked_at: null,
      sealedBody: incoming.message.sealedBody,
      held: incoming.held,
    }
    for (const delivery of owed)
      untilDone(() => deliver(delivery, origin), {
        onError: (error, delayMs) => log.error({ error, delayMs, delivery: delivery.delivery }, 'delivery.failed'),
      }).then((came) => one(came === 'done'), failed)
  }

  /** What a redelivered message need not send again: deliveries that have an outcome or a row. */
  const settled = async (rows: readonly IndexedMessage[]): Promise<Set<string>> => {
    const keys = rows.flatMap((row) => row.webhooks.map((webhook) => firstAttempt(row, webhook, '')))
    if (keys.length === 0) return new Set()
    const [states, scheduled] = await Promise.all([deliveryLog.states(keys), schedule.existing(keys.map((key) => key.delivery))])
    const done = new Set<string>(scheduled)
    states.forEach((state, i) => {
      if (state !== null && (state.attempt > 0 || state.chain > 1)) done.add(keys[i]!.delivery)
    })
    return done
  }

  /**
   * Matches and writes to the index. Whoever was answered 201 before a message's 202 is seen by it: what was matched with the copy at hand is written
   * only if the copy is still all there is, as the statement sees it, which begins after the batch was fetched.
   */
  const claim = async (batch: readonly Incoming[]): Promise<{ rows: IndexedMessage[]; claimed: boolean[] }> => {
    if (copy.cursor === null) await copy.refresh()
    const match = () =>
      batch.map((incoming) => {
        const { message, record } = incoming
        return rowOf(incoming, record.target === undefined ? copy.match(record.tenant, message.event) : [record.target])
      })
    const cursor = copy.cursor! // before anything is waited for: that of this very match
    const rows = match()
    await step('route.archive', () => deliveryLog.archive(rows.map((row, i) => ({ ...row, sealedBody: batch[i]!.message.sealedBody }))))
    const askedAt = performance.now()
    const claimed = await step('route.index', () => index.claim(rows, cursor))
    if (claimed !== null) {
      copy.confirm(cursor, askedAt)
      return { rows, claimed }
    }
    await copy.refresh()
    const again = match()
    return { rows: again, claimed: await step('route.index', () => index.claim(again)) }
  }

  const routeBatch = async (batch: readonly Incoming[]): Promise<undefined[]> => {
    if (!(await gate.open())) {
      // Stopping while the read model is behind: the messages stay on the bus.
      for (const incoming of batch) incoming.settled(false)
      return batch.map(() => undefined)
    }
    const { rows, claimed } = await claim(batch)
    const others = rows.flatMap((row, i) => (claimed[i] ? [] : [{ row, incoming: batch[i]! }]))
    const stored = await index.stored(others.map(({ row }) => row))
    const again: { incoming: Incoming; row: IndexedMessage }[] = []
    const repeated: Incoming[] = []
    const rejected: Incoming[] = []
    others.forEach(({ row, incoming }, i) => {
      const first = stored[i]
      if (first === undefined || first === null) throw new Error(`message ${row.message} is neither new nor in the index`)
      if (first.place === row.place) again.push({ incoming, row: first })
      else if (first.fingerprint === row.fingerprint) repeated.push(incoming)
      else rejected.push(incoming)
    })
    // Only after a crash or a rebalance; then with the list that is stored, whatever matches today.
    const skip = again.length === 0 ? new Set<string>() : await settled(again.map(({ row }) => row))
    // From here on nothing can fail: whatever begins, or is said to be done, is so once.
    for (const incoming of repeated) {
      metrics.routed.inc({ result: 'duplicate' })
      incoming.settled(true)
    }
    for (const incoming of rejected) {
      metrics.routed.inc({ result: 'rejected' })
      append(incoming, rejectedId(incoming.place), 'MessageRejected', { reason: 'content_differs' }).then(
        () => incoming.settled(true),
        (error: unknown) => {
          log.error({ error, message: incoming.message.id, place: incoming.place }, 'message.failed')
          incoming.settled(false)
        },
      )
    }
    rows.forEach((row, i) => {
      if (!claimed[i]) return
      metrics.routed.inc({ result: row.webhooks.length === 0 ? 'unmatched' : 'routed' })
      start(batch[i]!, row, skip)
    })
    for (const { incoming, row } of again) {
      metrics.routed.inc({ result: 'redelivered' })
      start(incoming, row, skip)
    }
    return batch.map(() => undefined)
  }

  const routing: GroupCommit<Incoming, undefined> = createGroupCommit({
    write: (batch) =>
      // Until it works: a message that was accepted is never left out.
      untilDone(() => routeBatch(batch), {
        onError: (error, delayMs) => log.warn({ error, delayMs, messages: batch.length }, 'routing.failed'),
        isFinal: isDataError,
      }),
    // What the database refuses of one message must not hold up the others.
    isPoison: isDataError,
    // Who fetches has bounded what is in hand.
    maxWaiting: Number.POSITIVE_INFINITY,
  })
  return {
    async route(incoming) {
      try {
        await routing.add(incoming)
      } catch (error) {
        await incoming.refuse(error)
        incoming.settled(true)
      }
    },
  }
}
