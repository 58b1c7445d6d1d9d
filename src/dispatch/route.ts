import type { Place, WebhookId } from '../events/ids.ts'
import { type Message, type MessageRecord, recordedRef } from '../events/message-record.ts'
import { firstAttempt } from '../events/refs.ts'
import { erasedBody, isErased } from '../events/sealed-body.ts'
import { step } from '../events/steps.ts'
import { Countdown } from '../lib/countdown.ts'
import { isProgrammingError } from '../lib/errors.ts'
import { createGroupCommit, isDataError } from '../lib/group-commit.ts'
import { untilDone } from '../lib/retry.ts'
import type { BodyArchive, DeliveryReads } from '../ports/delivery-log.ts'
import type { IndexEntry } from '../ports/message-bus.ts'
import type { IndexedMessage, MessageIndex } from '../projections/message-index.ts'
import type { Deliver } from './deliver.ts'
import type { HistoryCatchUp } from './history-catch-up.ts'
import type { DispatchMetrics } from './metrics.ts'
import { type AppendRouted, appendRejected, createRoutedAppends, type RouteEventsDeps } from './route-events.ts'
import type { RoutingGate } from './routing-gate.ts'
import type { Schedule } from './schedule.ts'
import type { StageHealth } from './stage-health.ts'
import type { WebhookCache } from './webhook-cache.ts'

/** A message as it came from the bus. */
export interface Incoming {
  readonly record: MessageRecord
  readonly message: Message
  readonly place: Place
  /** The message's entry in the message index, if it was written when the record was stored. Otherwise the router writes it. */
  readonly entry: IndexEntry | null
  /** Returns whether this process still owns the partition of the message. */
  isOwned(): boolean
  /** Reports how many deliveries the message has, because the work in progress is limited. */
  addDeliveries(count: number): void
  /** Quarantines the record of the message, because no process can route the message. Resolves when that is durable. */
  quarantine(error: unknown): Promise<unknown>
  /**
   * Called once, when no work on the message is in progress any more.
   * @param isDone whether the message is routed and each of its deliveries is attempted or parked, durably. Otherwise the bus delivers the message
   * again.
   */
  settle(isDone: boolean): void
}
export interface Router {
  /** Resolves when the message is in the index and its deliveries have started, or when it is quarantined. */
  route(incoming: Incoming): Promise<void>
}
interface RouterDeps extends RouteEventsDeps {
  readonly gate: RoutingGate
  readonly webhookCache: WebhookCache
  readonly index: Pick<MessageIndex, 'insertNew' | 'stored'>
  readonly deliveryLog: Pick<BodyArchive, 'archive' | 'bodies'> & Pick<DeliveryReads, 'states'>
  readonly historyCatchUp: HistoryCatchUp
  readonly schedule: Pick<Schedule, 'existing'>
  readonly deliver: Deliver
  readonly metrics: Pick<DispatchMetrics, 'routed'>
  readonly stageHealth: StageHealth
}

interface RouteDeps extends RouterDeps {
  readonly appendRouted: AppendRouted
}

/**
 * The number of failures after which a message that fails alone with a programming error is quarantined. One failure is not enough, because a driver
 * may throw such an error when a connection breaks.
 */
const triesOfFaultyMessage = 3

/**
 * Creates the router, which matches, archives and indexes a message, starts its deliveries, and appends the event of its routing (steps 3 and 6 of "The
 * way of a message" in README.md).
 */
export function createRouter(routerDeps: RouterDeps): Router {
  const deps: RouteDeps = { ...routerDeps, appendRouted: createRoutedAppends(routerDeps) }
  const batchesFor = (work: RouteWork) =>
    createGroupCommit<Incoming, undefined>({
      write: (batch) => routeUntilDone(deps, batch, work),
      // A batch with a faulty message is halved until that message fails alone, so that the others are routed.
      isItemFault: isFaultOfMessage,
      // The consumer already limits the messages in progress.
      maxWaiting: Number.POSITIVE_INFINITY,
    })
  const batches = batchesFor(routeBatch)
  // Messages that are in the index already must not wait until the others are written to it.
  const indexedBatches = batchesFor(startIndexed)
  return {
    async route(incoming) {
      try {
        await (incoming.entry === null ? batches : indexedBatches).add(incoming)
      } catch (error) {
        await incoming.quarantine(error)
        incoming.settle(true)
      }
    },
  }
}

type RouteWork = (deps: RouteDeps, batch: readonly Incoming[]) => Promise<void>

/** Returns whether an error is the fault of one message: the database refuses its data, or our code fails on it. All other errors are retried. */
const isFaultOfMessage = (error: unknown): boolean => isDataError(error) || isProgrammingError(error) // mutation: faulty-message-retried

/** Retries until the batch is routed, because no accepted message may be left out. Throws only errors that are the fault of a message. */
async function routeUntilDone(deps: RouteDeps, batch: readonly Incoming[], work: RouteWork): Promise<undefined[]> {
  let tries = 0
  await untilDone(() => work(deps, batch), {
    onError: (error, delayMs) => deps.stageHealth.failed('routing', error, { delayMs, messages: batch.length }),
    isFinal(error) {
      tries++
      return isFaultOfMessage(error) && (isDataError(error) || batch.length > 1 || tries >= triesOfFaultyMessage)
    },
  })
  deps.stageHealth.succeeded('routing')
  return batch.map(() => undefined)
}

async function routeBatch(deps: RouteDeps, batch: readonly Incoming[]): Promise<void> {
  if (!(await deps.gate.open())) {
    // The process stops before routing has started, so the messages stay on the bus.
    for (const incoming of batch) incoming.settle(false)
    return
  }
  const indexed = await indexBatch(deps, batch)
  if (indexed === null) {
    for (const incoming of batch) incoming.settle(false)
    return
  }
  const { rows, isNew } = indexed
  const storedRows = await storedRowsOf(deps, rows, isNew)
  const messages = rows.map((row, i) => ({ incoming: batch[i]!, ...classify(row, storedRows.get(row) ?? null) }))
  // Redelivered messages occur only after a crash or a rebalance, so this query is rare.
  const redelivered = messages.filter(({ kind }) => kind === 'redelivered')
  const begun = redelivered.length === 0 ? new Set<string>() : await begunDeliveries(deps, redelivered) // mutation: redelivered-sent-again
  const erased = await erasedAmong(deps, redelivered, begun)
  // The loop neither waits nor throws. So the batch is not retried after a delivery has started.
  for (const { incoming, kind, row } of messages) {
    deps.metrics.routed.inc({ result: kind })
    if (kind === 'duplicate') incoming.settle(true)
    else if (kind === 'rejected') void reject(deps, incoming)
    else {
      const sealedBody = erased.has(incoming) ? erasedBody : incoming.message.sealedBody
      startDeliveries(deps, { incoming, row, sealedBody }, begun, kind === 'redelivered')
    }
  }
}

/** Starts the deliveries of messages that were written to the index when their records were stored (decision 43). */
async function startIndexed(deps: RouteDeps, batch: readonly Incoming[]): Promise<void> {
  const rows = batch.map(({ record, message, place, entry }) => ({ ...recordedRef(record, message, place), ...entry! }))
  await archiveBodies(deps, rows, batch)
  for (const [i, incoming] of batch.entries()) {
    const row = rows[i]!
    // Another owner may have read the record meanwhile. It finds the entry in the index, and goes on with the message.
    if (!incoming.isOwned()) incoming.settle(false)
    else {
      deps.metrics.routed.inc({ result: row.webhooks.length === 0 ? 'unmatched' : 'routed' })
      startDeliveries(deps, { incoming, row, sealedBody: incoming.message.sealedBody }, new Set(), false)
    }
  }
}

async function archiveBodies({ deliveryLog }: RouteDeps, rows: readonly IndexedMessage[], batch: readonly Incoming[]): Promise<void> {
  await step('route.archive', () => deliveryLog.archive(rows.map((row, i) => ({ ...row, sealedBody: batch[i]!.message.sealedBody })))) // mutation: not-archived
}

/**
 * Matches a batch and writes it to the index. A message must be matched with every webhook whose 201 came before the 202 of the message. So the rows
 * are written only if the cache that matched them is still current when the statement starts. Returns null when the process stops while the read
 * model of webhooks is behind.
 */
async function indexBatch(deps: RouteDeps, batch: readonly Incoming[]): Promise<{ rows: IndexedMessage[]; isNew: boolean[] } | null> {
  const { gate, webhookCache, index } = deps
  if ((webhookCache.cursor === null || webhookCache.isBehind) && !(await gate.refresh())) return null
  const rows = batch.map((incoming) => match(webhookCache, incoming))
  const cursor = webhookCache.cursor! // mutation: cursor-read-later
  await archiveBodies(deps, rows, batch)
  const insertStartedAt = performance.now()
  const isNew = await step('route.index', () => index.insertNew(rows, cursor)) // mutation: cache-by-time-alone
  if (isNew !== null) {
    webhookCache.confirm(cursor, insertStartedAt)
    return { rows, isNew }
  }
  if (!(await gate.refresh())) return null // mutation: stale-match-written
  const rematchedRows = batch.map((incoming) => match(webhookCache, incoming))
  return { rows: rematchedRows, isNew: await step('route.index', () => index.insertNew(rematchedRows)) }
}

function match(webhookCache: WebhookCache, { record, message, place }: Incoming): IndexedMessage {
  const webhooks: WebhookId[] = record.target === undefined ? webhookCache.match(record.tenant, message.event) : [record.target]
  return { ...recordedRef(record, message, place), webhooks, matched_at: webhookCache.checkpoint! }
}

/** Returns the stored rows of the messages that are not new. The map leads from each row that was not written to the stored row of the same message. */
async function storedRowsOf(
  { index }: RouteDeps,
  rows: readonly IndexedMessage[],
  isNew: readonly boolean[],
): Promise<Map<IndexedMessage, IndexedMessage>> {
  const knownRows = rows.filter((_, i) => !isNew[i])
  const storedRows = await index.stored(knownRows)
  const pairs = knownRows.map((row, i) => {
    const storedRow = storedRows[i]
    if (storedRow == null) throw new Error(`The message ${row.message} is neither new nor in the index.`)
    return [row, storedRow] as const
  })
  return new Map(pairs)
}

/**
 * Classifies a message by its new row and by the stored row of the index (null if it had none). A redelivered message (same place) keeps the stored
 * webhooks, even if others match now.
 */
export function classify(
  row: IndexedMessage,
  storedRow: IndexedMessage | null,
): { kind: 'routed' | 'unmatched' | 'redelivered' | 'duplicate' | 'rejected'; row: IndexedMessage } {
  if (storedRow === null) return { kind: row.webhooks.length === 0 ? 'unmatched' : 'routed', row }
  if (storedRow.place === row.place) return { kind: 'redelivered', row: storedRow } // mutation: conflict-drops-message, redelivered-matched-anew
  return { kind: storedRow.fingerprint === row.fingerprint ? 'duplicate' : 'rejected', row }
}

/** Returns the deliveries of redelivered messages that need not start again, because they have an attempt or a scheduled row. */
export async function begunDeliveries(
  {
    deliveryLog,
    historyCatchUp,
    schedule,
  }: Pick<RouteDeps, 'historyCatchUp' | 'schedule'> & { readonly deliveryLog: Pick<DeliveryReads, 'states'> },
  redelivered: readonly { incoming: Pick<Incoming, 'record'>; row: IndexedMessage }[],
): Promise<Set<string>> {
  const deliveries = redelivered.flatMap(({ incoming, row }) => firstAttempts(incoming, row))
  if (deliveries.length === 0) return new Set()
  // The rows are read first. A row that is already gone by then belongs to an attempt that is stored, so the history shows it after the wait.
  const begun = new Set<string>(await schedule.existing(deliveries.map(({ delivery }) => delivery)))
  await historyCatchUp.reachHead()
  const states = await deliveryLog.states(deliveries)
  states.forEach((state, i) => {
    if (state !== null && (state.attempt > 0 || state.chain > 1)) begun.add(deliveries[i]!.delivery)
  })
  return begun
}

/**
 * Returns the redelivered messages whose bodies were erased from the archive. Their records may still hold the bodies, because a record on Kafka cannot be
 * changed.
 */
async function erasedAmong(
  { deliveryLog }: RouteDeps,
  redelivered: readonly { incoming: Incoming; row: IndexedMessage }[],
  begun: ReadonlySet<string>,
): Promise<Set<Incoming>> {
  const notBegun = redelivered.filter(({ incoming, row }) => firstAttempts(incoming, row).some(({ delivery }) => !begun.has(delivery)))
  if (notBegun.length === 0) return new Set()
  const bodies = await deliveryLog.bodies(notBegun.map(({ row }) => row))
  return new Set(notBegun.filter((_, i) => isErased(bodies[i])).map(({ incoming }) => incoming))
}

const firstAttempts = ({ record }: Pick<Incoming, 'record'>, row: IndexedMessage) =>
  row.webhooks.map((webhook) => firstAttempt(row, webhook, record.correlation_id))

/** Starts the deliveries of a message. The message is done when the event of its routing is appended and each delivery is attempted or parked. */
function startDeliveries(
  deps: RouteDeps,
  { incoming, row, sealedBody }: { incoming: Incoming; row: IndexedMessage; sealedBody: Buffer },
  begun: ReadonlySet<string>,
  isRedelivered: boolean,
): void {
  const { deliver, stageHealth, appendRouted } = deps
  const deliveries = firstAttempts(incoming, row).filter(({ delivery }) => !begun.has(delivery))
  incoming.addDeliveries(deliveries.length)
  const countdown = new Countdown(deliveries.length + 1, (isDone) => incoming.settle(isDone)) // mutation: offset-before-attempts
  const failed = (error: unknown) => {
    logFailure(deps, incoming, error)
    countdown.end(false)
  }
  // The append starts once the requests have started, so that it does not delay them.
  setImmediate(() => {
    appendRouted(incoming, row, isRedelivered).then(() => countdown.end(), failed) // mutation: done-without-routed
  })
  const origin = {
    fromTable: false,
    parked_at: null,
    sealedBody,
    isOwned: () => incoming.isOwned(),
  }
  for (const delivery of deliveries)
    untilDone(() => deliver(delivery, origin), {
      onError: (error, delayMs) => stageHealth.failed('delivering', error, { delayMs, delivery: delivery.delivery }),
    }).then((result) => {
      stageHealth.succeeded('delivering')
      countdown.end(result === 'done')
    }, failed)
}

async function reject(deps: RouteDeps, incoming: Incoming): Promise<void> {
  try {
    await appendRejected(deps, incoming) // mutation: done-without-rejected
    incoming.settle(true)
  } catch (error) {
    logFailure(deps, incoming, error)
    incoming.settle(false)
  }
}

/** Logs why a message is not done. Its offset is not saved, so the bus delivers it again. */
function logFailure({ log }: RouteDeps, { message, place }: Incoming, error: unknown): void {
  log.error({ error, message: message.id, place }, 'message.failed')
}
