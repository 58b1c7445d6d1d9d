import { keyDecider } from '../commands/key.ts'
import type { Actor } from '../events/envelope.ts'
import type { ClientId, KeyId, TenantId } from '../events/ids.ts'
import { keyStream } from '../events/streams.ts'
import { findClient } from '../projections/clients.ts'
import { statesOf } from './as-of.ts'
import type { ApiDependencies } from './dependencies.ts'

/** Who did something, as auditors are shown it. */
export interface NamedActor {
  readonly kind: string
  readonly id: string
  /** Null for parts of Kolbak itself, and for who is not of the tenant. */
  readonly name: string | null
}

/** Names the actors of a tenant's events, revoked clients and deleted keys included; each is looked up once. */
export function createActorNames({ pool, streams }: Pick<ApiDependencies, 'pool' | 'streams'>, tenant: TenantId) {
  const known = new Map<Actor, Promise<NamedActor>>()
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
    const before = known.get(actor)
    if (before !== undefined) return before
    const separator = actor.indexOf(':')
    const [kind, id] = [actor.slice(0, separator), actor.slice(separator + 1)]
    const shown = nameOf(kind, id).then((name) => ({ kind, id, name }))
    known.set(actor, shown)
    return shown
  }
}
