import { createHash } from 'node:crypto'
import type { Checkpoint, Metadata, NewEvent, RecordedEvent, RequestFacts } from '../events/envelope.ts'
import { commitment } from '../events/leaf.ts'
import { shapeOf, upcast } from '../events/schema.ts'
import { fieldAad, openEvent, sealEvent } from '../events/sealed-fields.ts'
import { secretFields } from '../events/secret-fields.ts'
import { aggregateIn, type StreamName } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Vault } from '../lib/seal.ts'
import type { EventStore, ExpectedRevision } from '../ports/event-store.ts'

/** Command streams with unsealed events. Events are opened when they are read. They are sealed, timed and chained when they are appended. */
export interface CommandStreams {
  /**
   * Returns all events of a stream, converted to their present schemas and opened. Throws EventNotReadable if this is impossible for an
   * event, because a decision needs all events.
   */
  read(stream: StreamName): Promise<PastEvents>
  /** Appends decided events after `past`. Throws the errors that `EventStore.append` names. */
  append(
    stream: StreamName,
    decided: readonly Omit<NewEvent, 'metadata'>[],
    expected: ExpectedRevision,
    past: PastEvents,
    by: Author,
  ): Promise<{ events: RecordedEvent[]; revision: number; position: Checkpoint }>
}
/** The metadata of decided events, and the request that gave the command. */
export type Author = Pick<Metadata, 'actor' | 'tenant' | 'time' | '$correlationId' | '$causationId'> & { readonly request?: RequestFacts }

export interface PastEvents {
  readonly events: readonly RecordedEvent[]
  /** Revision of the last event, or -1 when the stream does not exist. */
  readonly revision: number
  readonly position: Checkpoint | null
  /** The `prev` of the stream's next event, or null for the first event. */
  readonly hash: string | null
}
/** Returns the hash that the stream's next event has as `prev`. */
export const hashOf = (stored: Pick<NewEvent, 'type' | 'data' | 'metadata'>): string =>
  createHash('sha256')
    .update(JSON.stringify([stored.type, stored.data, stored.metadata]))
    .digest('hex')

/** The error for a stream that is not what Kolbak has written, or that lacks events. */
const streamFaulty = (what: string) =>
  new KolbakError('stream_faulty', `The history of this resource was changed from outside (${what}): an operator must look at it.`)

/** Returns the facts about a request as metadata. The address and the agent are personal data, so they are sealed. */
function storedFacts(vault: Vault, tenant: string, stream: StreamName, { origin, ...facts }: RequestFacts): Partial<Metadata> {
  return { ...facts, origin: vault.sealText(originAad(tenant, stream), JSON.stringify(origin)) }
}
/** Returns the AAD of the sealed `origin` of an event. */
export const originAad = (tenant: string, stream: StreamName): string[] => fieldAad(tenant, aggregateIn(stream), 'origin')

/**
 * Returns a commitment to each sealed value of an event, except secrets, because a secret is never shown to prove it.
 * @param stored the event with sealed values; `plain` has the same data unsealed
 */
function commitmentsTo(vault: Vault | null, stored: NewEvent, plain: object): Record<string, string> {
  const [sealedData, plainData] = [{ ...stored.data } as Record<string, unknown>, { ...plain } as Record<string, unknown>]
  const commits: Record<string, string> = {}
  if (vault === null) return commits
  for (const [field] of shapeOf(stored.type)?.sealed ?? []) {
    const sealed = sealedData[field]
    if (typeof sealed === 'string' && !secretFields.has(field))
      commits[field] = commitment(field, vault.blindingOf(sealed), plainData[field])
  }
  return commits
}

interface StreamsOptions {
  /** The version of Kolbak, which each event keeps. */
  readonly app?: string
  /** Makes and checks MACs. Without it, events get no MAC, and no MAC is checked. */
  readonly macs?: Pick<EventMacs, 'macOf' | 'faultOf'>
  /** Returns the last revision of a stream that the audit log has, or -1. Without this function, a stream whose last events are missing is accepted. */
  readonly lastLogged?: (stream: StreamName) => Promise<number>
}

export function createCommandStreams(store: EventStore, keyring: Keyring, { app, macs, lastLogged }: StreamsOptions = {}): CommandStreams {
  return {
    async read(stream) {
      let [stored, logged] = await Promise.all([store.read(stream), lastLogged?.(stream) ?? -1])
      // An event may have been stored between the two reads, so the stream is read again before it counts as incomplete.
      if (logged > (stored.at(-1)?.revision ?? -1)) stored = await store.read(stream)
      if (logged > (stored.at(-1)?.revision ?? -1)) throw streamFaulty(`${stream}@${logged} is missing`)
      const last = stored.at(-1)
      if (last === undefined) return { events: [], revision: -1, position: null, hash: null }
      for (const event of stored) {
        const fault = macs?.faultOf(event) ?? null
        if (fault !== null) throw streamFaulty(`${stream}@${event.revision} is ${fault}`)
      }
      const vault = await keyring.vault(last.metadata.tenant)
      return {
        events: stored.map((event) => openEvent(vault, stream, upcast(event))),
        revision: last.revision,
        position: last.position,
        hash: hashOf(last),
      }
    },
    async append(stream, decided, expected, past, { request, ...by }) {
      if (past.revision < 0 && decided[0]?.type === 'TenantRegistered') await keyring.create(by.tenant)
      const isSealing = request !== undefined || decided.some(({ type }) => shapeOf(type)?.sealed.length !== 0)
      // The events of the log begin before the tenant `default` is registered and has a key.
      const vault = isSealing ? await keyring.vault(by.tenant) : null
      // The times of a stream never decrease, because `as_of` compares them.
      const before = past.events.at(-1)?.metadata.time ?? ''
      const time = by.time > before ? by.time : before
      let prev = past.hash
      const facts = request === undefined || vault === null ? {} : storedFacts(vault, by.tenant, stream, request)
      const originCommit =
        request === undefined || vault === null || facts.origin === undefined
          ? {}
          : { origin: commitment('origin', vault.blindingOf(facts.origin), request.origin) }
      const opened: NewEvent[] = []
      const sealed = decided.map(({ id, type, data }, i): NewEvent => {
        const unchained = sealEvent(vault, stream, {
          id,
          type,
          data,
          metadata: { ...by, time, ...(app === undefined ? {} : { app }), ...facts },
        })
        const commits = { ...commitmentsTo(vault, unchained, data), ...originCommit }
        const metadata = { ...unchained.metadata, ...(Object.keys(commits).length === 0 ? {} : { commits }), prev }
        const withoutMac = { ...unchained, metadata }
        const mac = macs?.macOf({ ...withoutMac, stream, revision: past.revision + 1 + i })
        const event = mac === undefined ? withoutMac : { ...withoutMac, metadata: { ...metadata, mac } }
        opened.push({ ...event, data })
        prev = hashOf(event)
        return event
      })
      const { revision, position } = await store.append(stream, sealed, expected)
      const first = revision - opened.length + 1
      return { events: opened.map((event, i) => ({ ...event, stream, revision: first + i, position })), revision, position }
    },
  }
}
