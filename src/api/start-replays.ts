import { replay } from '../commands/replay.ts'
import type { Checkpoint } from '../events/envelope.ts'
import type { StreamName } from '../events/streams.ts'
import { step } from '../lib/points.ts'
import type { Delivery } from '../ports/delivery-log.ts'
import { lagHeader } from './changes.ts'
import { type ApiDependencies, readModels } from './dependencies.ts'
import type { Identity, RawRequest } from './route.ts'

const atOnce = 100

/** A delivery that begins anew, and its webhook as it is now. */
export interface Replayable {
  readonly delivery: Delivery
  readonly webhookRevision: number
}

/** Begins the next chain of deliveries; answers them as they are now, and the headers that say whether the history has it. */
export function replays({ store, waiter, settings, now }: Pick<ApiDependencies, 'store' | 'waiter' | 'settings' | 'now'>) {
  return async (
    replayable: readonly Replayable[],
    { caller, plan }: Identity & Pick<RawRequest, 'plan'>,
  ): Promise<{ begun: Delivery[]; headers: Record<string, string> }> => {
    const { time, chains } = await plan(() => ({
      time: new Date(now()).toISOString(),
      chains: replayable.map(({ delivery }) => [delivery.delivery, delivery.chain + 1] as const),
    }))
    const chainOf = new Map(chains)
    const wanted = replayable.filter(({ delivery }) => chainOf.has(delivery.delivery))
    const begun: Delivery[] = []
    let last: { position: Checkpoint; stream: StreamName } | null = null
    for (let start = 0; start < wanted.length; start += atOnce) {
      const some = wanted.slice(start, start + atOnce)
      const appended = await Promise.all(
        some.map(async ({ delivery, webhookRevision }) => {
          const chain = chainOf.get(delivery.delivery) ?? delivery.chain + 1
          const { stream, event } = replay(delivery, { chain, caller, webhookRevision, now: time })
          const { position } = await step('replay.append', () => store.append(stream, [event], 'any'))
          begun.push({ ...delivery, status: 'pending', chain: event.data.chain, code: null, reason: null, next_attempt_at: null })
          return { position, stream }
        }),
      )
      for (const one of appended) if (last === null || one.position > last.position) last = one
    }
    const headers =
      last === null ? {} : await lagHeader(waiter, settings, readModels.deliveries, { position: last.position, changed: true }, last.stream)
    return { begun, headers }
  }
}
