import { keyDecider } from '../commands/key.ts'
import type { Actor } from '../events/envelope.ts'
import type { ClientId, KeyId, TenantId } from '../events/ids.ts'
import { keyStream } from '../events/streams.ts'
import { findClient } from '../projections/clients.ts'
import { statesOf } from './as-of.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { NamedActor } from './responses.ts'

/** A name, and the time (RFC 3339) from which an actor had it. */
interface PastName {
  readonly name: string
  readonly since: string
}

/**
 * Returns a function that finds the names of the actors of a tenant's events, including revoked clients and deleted keys. A key may have been renamed
 * since, so its name is the one at the time of the event. Each actor is looked up once.
 */
export function createActorNames({ pool, streams }: Pick<ApiDependencies, 'pool' | 'streams'>, tenant: TenantId) {
  const lookups = new Map<Actor, Promise<readonly PastName[]>>()
  /** Returns the names of an actor, oldest first. */
  const namesOf = async (kind: string, id: string): Promise<readonly PastName[]> => {
    if (kind === 'client') {
      // No event renames a client.
      const client = await findClient(pool, id as ClientId)
      return client?.tenant === tenant ? [{ name: client.name, since: '' }] : []
    }
    if (kind !== 'key') return []
    const { events } = await streams.read(keyStream(id as KeyId))
    return statesOf(keyDecider, events).flatMap((key, i) =>
      key?.tenant === tenant ? [{ name: key.name, since: events[i]?.metadata.time ?? '' }] : [],
    )
  }
  /** @param time the time of the event (RFC 3339) */
  return async (actor: Actor, time: string): Promise<NamedActor> => {
    const separator = actor.indexOf(':')
    const [kind, id] = [actor.slice(0, separator), actor.slice(separator + 1)]
    const lookup = lookups.get(actor) ?? namesOf(kind, id)
    lookups.set(actor, lookup)
    const names = await lookup
    const then = names.findLast(({ since }) => since <= time) ?? names[0]
    return { kind, id, name: then?.name ?? null }
  }
}
