import { replay } from '../commands/replay.ts'
import type { Checkpoint } from '../events/envelope.ts'
import { step } from '../events/steps.ts'
import type { StreamName } from '../events/streams.ts'
import type { Delivery } from '../ports/delivery-log.ts'
import { projectionNames } from '../projections/names.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { Identity } from './identity.ts'
import { awaitProjection } from './projection-lag.ts'
import type { RawRequest } from './route.ts'

const appendsAtOnce = 100
/** If another request has started a chain within this many milliseconds, a request joins it, because the history may not show that chain yet. */
const joinedMs = 600_000
const latestOf = (a: string, b: string): string => (a > b ? a : b)

/** A delivery to replay, and the present revision of its webhook. */
export interface Replayable {
  readonly delivery: Delivery
  readonly webhookRevision: number
}

/**
 * Returns a function that starts the next chain of some deliveries. It returns the deliveries in their new state, and the header
 * `Projection-Lag` if the delivery history does not have the change yet.
 */
export function createStartReplays(deps: Pick<ApiDependencies, 'store' | 'waiter' | 'settings' | 'now' | 'macs'>) {
  return async (
    replayables: readonly Replayable[],
    { caller, plan, kolbakRequestId }: Identity & Pick<RawRequest, 'plan' | 'kolbakRequestId'>,
  ): Promise<{ replayed: Delivery[]; headers: Record<string, string> }> => {
    const { time, chains } = await plan(() => ({
      time: new Date(deps.now()).toISOString(),
      chains: replayables.map(({ delivery }) => [delivery.delivery, delivery.chain + 1] as const),
    }))
    const chainOf = new Map(chains)
    // A repeated request replays only the deliveries that the first request had planned.
    const planned = replayables.filter(({ delivery }) => chainOf.has(delivery.delivery))
    const replayed: Delivery[] = []
    let latest: { position: Checkpoint; stream: StreamName } | null = null
    const start = async ({ delivery, webhookRevision }: Replayable) => {
      const chain = chainOf.get(delivery.delivery) ?? delivery.chain + 1
      const { stream, event } = replay(
        delivery,
        { chain, caller, webhookRevision, now: time, cause: { request_id: kolbakRequestId } },
        deps.macs,
      )
      const since = latestOf(delivery.time, new Date(Date.parse(time) - joinedMs).toISOString())
      const { position } = await step('replay.append', () => deps.store.append(stream, [event], 'any', { since }))
      replayed.push({ ...delivery, status: 'pending', chain: event.data.chain, code: null, reason: null, next_attempt_at: null })
      return { position, stream }
    }
    for (let first = 0; first < planned.length; first += appendsAtOnce) {
      const appended = await Promise.all(planned.slice(first, first + appendsAtOnce).map(start))
      for (const event of appended) if (latest === null || event.position > latest.position) latest = event
    }
    const headers = latest === null ? {} : await awaitProjection(deps, projectionNames.deliveries, latest.position, latest.stream)
    return { replayed, headers }
  }
}
