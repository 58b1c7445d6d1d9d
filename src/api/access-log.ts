import { randomUUID } from 'node:crypto'
import type { AccessEvents } from '../events/access.ts'
import type { Actor, NewEvent, RequestFacts } from '../events/envelope.ts'
import { type ClientId, defaultTenant, type EventId, type TenantId } from '../events/ids.ts'
import { sealEvent } from '../events/sealed-fields.ts'
import { step } from '../events/steps.ts'
import { accessStream, type StreamName } from '../events/streams.ts'
import { DataKeyFault, type Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import type { Vault } from '../lib/seal.ts'
import type { EventStore } from '../ports/event-store.ts'

/** A request that the access log keeps. */
export interface Access {
  /** The tenant that was looked at, or null if it follows from `client_id`. */
  readonly tenant: TenantId | null
  readonly actor: Actor
  readonly correlation_id: string
  readonly facts: RequestFacts
  readonly what:
    | { readonly type: 'AuditRead'; readonly url: string; readonly lines?: number }
    | { readonly type: 'AccessDenied'; readonly status: number; readonly code: string }
    | { readonly type: 'TokenRefused'; readonly client_id: string | null; readonly code: string }
}
/**
 * Keeps who read the audit log and who was refused, as events of the tenant. No request waits for it: events are gathered and appended every second,
 * and refusals of one kind are counted for a minute first. A process that is killed loses what it has gathered.
 */
export interface AccessLog {
  note(access: Access): void
  close(): Promise<void>
}

interface AccessLogOptions {
  readonly store: Pick<EventStore, 'append'>
  readonly keyring: Pick<Keyring, 'vault'>
  readonly log: Log
  /** Returns the tenant of a client, or null. */
  tenantOf(client: ClientId): Promise<TenantId | null>
  /** Returns whether every live process can read the events. A process of version 0.2 would not seal them in its batches. */
  isReady(): boolean
  readonly flushMs?: number
  /** The milliseconds for which refusals of one kind are counted. */
  readonly countMs?: number
}

/** The most different events that a process gathers in a minute. Beyond them it only counts. */
const maxGathered = 1_000
/** The most events that wait to be appended while the store is away. Beyond them the newest are dropped. */
const maxWaiting = 10_000

interface Gathered {
  readonly id: EventId
  readonly access: Access
  readonly since: number
  until: number
  count: number
}
/** An event without its place. It keeps its id while the append is tried again. */
type AccessEvent = Omit<NewEvent, 'metadata'> & { readonly metadata: Omit<NewEvent['metadata'], 'schema'>; readonly stream: StreamName }

export function createAccessLog(options: AccessLogOptions): AccessLog {
  const { log, flushMs = 1_000, countMs = 60_000, isReady } = options
  const gathered = new Map<string, Gathered>()
  let omitted: Counter | null = null
  let waiting: AccessEvent[] = []
  let flushing: Promise<void> = Promise.resolve()
  let minute = { since: Date.now(), events: 0 }

  const take = (isAll: boolean, now: number): (() => Promise<AccessEvent>)[] => {
    const taken: (() => Promise<AccessEvent>)[] = []
    for (const [key, entry] of gathered) {
      if (!isAll && entry.access.what.type !== 'AuditRead' && now - entry.since < countMs) continue
      gathered.delete(key)
      taken.push(() => accessEventOf(options, entry))
    }
    const counter = omitted
    if (counter !== null && (isAll || now - counter.since >= countMs)) {
      omitted = null
      taken.push(async () => omissionEventOf(counter))
    }
    return taken
  }
  const flush = async (isAll: boolean): Promise<void> => {
    if (!isReady()) return
    for (const createEvent of take(isAll, Date.now())) {
      const event = await createEvent()
      if (waiting.length < maxWaiting) waiting.push(event)
    }
    const events = waiting
    waiting = []
    for (const [stream, group] of Map.groupBy(events, (event) => event.stream))
      try {
        await append(options, stream, group)
      } catch (error) {
        log.warn({ error, events: group.length }, 'access_log.failed')
        waiting.push(...group)
      }
  }
  const flushSoon = (isAll = false) => {
    flushing = flushing.then(() => flush(isAll)).catch((error: unknown) => log.warn({ error }, 'access_log.failed'))
    return flushing
  }
  let timer: NodeJS.Timeout | null = null
  /** Flushes after `flushMs`, and again as long as accesses wait. No timer runs while none waits. */
  const flushLater = () => {
    timer ??= setTimeout(async () => {
      timer = null
      await flushSoon()
      if (gathered.size > 0 || omitted !== null || waiting.length > 0) flushLater()
    }, flushMs).unref()
  }
  return {
    note(access) {
      flushLater()
      const now = Date.now()
      const { what, facts, actor, tenant } = access
      const key =
        what.type === 'AuditRead' ? facts.request_id : JSON.stringify([what, tenant, actor, facts.operation, facts.origin.address])
      const entry = gathered.get(key)
      if (entry !== undefined) {
        entry.until = now
        entry.count++
        return
      }
      if (now - minute.since >= 60_000) minute = { since: now, events: 0 }
      if (minute.events >= maxGathered) {
        omitted ??= { since: now, until: now, count: 0 }
        omitted.until = now
        omitted.count++
        return
      }
      minute.events++
      gathered.set(key, { id: randomUUID() as EventId, access, since: now, until: now, count: 1 })
    },
    async close() {
      if (timer !== null) clearTimeout(timer)
      await flushSoon(true)
    },
  }
}

interface Counter {
  readonly since: number
  until: number
  count: number
}
/** Returns the stream of today. The index of an event must not be below one that a reader has got, so the day is not that of the request. */
const streamOf = (tenant: TenantId): StreamName => accessStream(tenant, isoOf(Date.now()))
const isoOf = (ms: number): string => new Date(ms).toISOString()

async function accessEventOf({ tenantOf, log }: AccessLogOptions, { id, access, since, until, count }: Gathered): Promise<AccessEvent> {
  const { what, actor, correlation_id, facts } = access
  const { origin, ...rest } = facts
  const clientId = what.type === 'TokenRefused' ? what.client_id : null
  const tenantOfClient =
    clientId === null
      ? null
      : await tenantOf(clientId as ClientId).catch((error: unknown) => {
          log.warn({ error }, 'access_log.tenant_not_read')
          return null
        })
  const tenant = access.tenant ?? tenantOfClient ?? defaultTenant
  const { type, ...data } = what
  return {
    ...{ id, type, stream: streamOf(tenant) },
    data: { ...data, ...(type === 'AuditRead' ? {} : { count, until: isoOf(until) }), origin },
    metadata: { actor, tenant, time: isoOf(since), $correlationId: correlation_id, $causationId: null, ...rest },
  }
}
function omissionEventOf({ since, until, count }: Counter): AccessEvent {
  const data: AccessEvents['AccessesOmitted'] = { count, until: isoOf(until) }
  const id = randomUUID() as EventId
  const metadata = {
    actor: 'system:access-log',
    tenant: defaultTenant,
    time: isoOf(since),
    $correlationId: id,
    $causationId: null,
  } as const
  return { id, type: 'AccessesOmitted', stream: streamOf(defaultTenant), data, metadata }
}

async function append({ store, keyring }: AccessLogOptions, stream: StreamName, group: readonly AccessEvent[]): Promise<void> {
  const vault: Vault | null = await keyring.vault(group[0]!.metadata.tenant).catch((error: unknown) => {
    // Nothing can be sealed without the tenant's keys, so the addresses are left out. Any other error leaves the events waiting.
    if (error instanceof DataKeyFault) return null
    throw error
  })
  const events = group.map(({ stream: _, ...event }) =>
    sealEvent(vault, stream, vault === null && 'origin' in event.data ? { ...event, data: { ...event.data, origin: null } } : event),
  )
  await step('access.append', () => store.append(stream, events, 'any', { patient: true }))
}
