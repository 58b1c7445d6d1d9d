import { endsChain, isGreaterFact, isListedAttempt, statusOf } from '../events/delivery.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { attemptsStream } from '../events/streams.ts'
import type { Attempt, Delivery } from '../ports/delivery-log.ts'
import { findAttemptEvent, findInStream } from '../ports/find-event.ts'
import type { ApiDependencies } from './dependencies.ts'

/** The most pages of events that are searched for one event. */
const maxPages = 12
/** The replay that began a chain is searched in this many milliseconds before the first attempt of the chain. */
const replayedWithinMs = 60_000

type PastDelivery = Pick<Delivery, 'status' | 'chain' | 'code' | 'reason' | 'next_attempt_at'>
const pending = { status: 'pending', code: null, reason: null, next_attempt_at: null } as const

/** Returns the deliveries as they were at a time (RFC 3339). The state of a delivery follows from its facts up to that time. */
export async function deliveriesAt(
  deps: Pick<ApiDependencies, 'deliveryLog' | 'store'>,
  rows: readonly Delivery[],
  time: string,
): Promise<PastDelivery[]> {
  // If the latest fact is not later, nothing has happened since.
  const changed = rows.filter((row) => row.time > time)
  const attempts = changed.length === 0 ? [] : await deps.deliveryLog.attempts(changed)
  const pasts = await Promise.all(changed.map((row, i) => pastOf(deps, row, attempts[i] ?? [], time)))
  const pastOfRow = new Map(changed.map((row, i) => [row, pasts[i]]))
  return rows.map((row) => pastOfRow.get(row) ?? row)
}

async function pastOf(
  { store }: Pick<ApiDependencies, 'store'>,
  row: Delivery,
  attempts: readonly Attempt[],
  time: string,
): Promise<PastDelivery> {
  const then = attempts.filter((attempt) => isListedAttempt(attempt.type) && attempt.time <= time)
  const last = then.reduce<Attempt | null>((greatest, fact) => (greatest === null || isGreaterFact(fact, greatest) ? fact : greatest), null)
  const chain = last?.chain ?? 1
  const isEnded = last !== null && endsChain(last.type)
  if (isEnded && row.chain > chain && (await isReplayedBy(store, row, attempts, chain + 1, time))) return { ...pending, chain: chain + 1 }
  if (last === null) return { ...pending, chain }
  const event = last.type === 'DeliveryFailed' ? await findAttemptEvent(store, row.webhook, last, maxPages) : null
  const delaySeconds = event !== null && 'delay_seconds' in event.data ? Number(event.data.delay_seconds) : null
  return {
    ...{ status: statusOf[last.type], chain, code: last.code, reason: last.reason },
    next_attempt_at: delaySeconds === null ? null : new Date(Date.parse(last.time) + delaySeconds * 1_000).toISOString(),
  }
}

/** Returns whether the replay that began a chain was stored at the time or before. */
async function isReplayedBy(
  store: Pick<ApiDependencies['store'], 'read'>,
  row: Delivery,
  attempts: readonly Attempt[],
  chain: number,
  time: string,
): Promise<boolean> {
  const begun = attempts.find((attempt) => attempt.chain === chain)?.time ?? row.time
  const isReplay = ({ type, data }: RecordedEvent) =>
    type === 'DeliveryReplayed' && 'delivery' in data && data.delivery === row.delivery && 'chain' in data && data.chain === chain
  const before = new Date(Date.parse(begun) - replayedWithinMs).toISOString()
  // The replay may be in the stream of the day before.
  const streams = new Set([attemptsStream(row.webhook, begun), attemptsStream(row.webhook, before)])
  for (const stream of streams) {
    const search = { time: begun, disorderMs: replayedWithinMs, untilMs: replayedWithinMs, maxPages }
    const replay = await findInStream(store, stream, search, isReplay)
    if (replay !== null) return replay.metadata.time <= time
  }
  return false
}
