import { keyDecider } from '../commands/key.ts'
import type { Actor } from '../events/envelope.ts'
import type { ClientId, KeyId, TenantId } from '../events/ids.ts'
import { keyStream } from '../events/streams.ts'
import { findClient } from '../projections/clients.ts'
import { statesOf } from './as-of.ts'
import type { ApiDependencies } from './dependencies.ts'

/** The author of an event, in the form shown to auditors. */
export interface NamedActor {
  readonly kind: string
  readonly id: string
  /** The name of the actor, or null for parts of Kolbak and for actors of another tenant. */
  readonly name: string | null
}

/**
 * Returns a function that finds the names of the actors of a tenant's events, including revoked clients and deleted keys. Each actor is looked up
 * once.
 */
export function createActorNames({ pool, streams }: Pick<ApiDependencies, 'pool' | 'streams'>, tenant: TenantId) {
  const namedActors = new Map<Actor, Promise<NamedActor>>()
  const nameOf = async (kind: string, id: string): Promise<string | null> => {
    if (kind === 'client') {
      const client = await findClient(pool, id as ClientId)
      return client?.tenant === tenant ? client.name : null
    }
    if (kind !== 'key') return null
    const key = statesOf(keyDecider, (await streams.read(keyStream(id as KeyId))).events).at(-1)
    return key?.tenant === tenant ? key.name : null
  }
  return (actor: Actor): Promise<NamedActor> => {
    const cached = namedActors.get(actor)
    if (cached !== undefined) return cached
    const separator = actor.indexOf(':')
    const [kind, id] = [actor.slice(0, separator), actor.slice(separator + 1)]
    const namedActor = nameOf(kind, id).then((name) => ({ kind, id, name }))
    namedActors.set(actor, namedActor)
    return namedActor
  }
}
