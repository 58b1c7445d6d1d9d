import type { EventId } from './ids.ts'
import type { StreamName } from './streams.ts'

/** The author of an event: `client:<client id>`, `key:<key id>` or `system:<part of Kolbak>`. */
export type Actor = `client:${string}` | `key:${string}` | `system:${string}`

/** The credential of a request. The actor names the client or the key that it belongs to. */
export interface Credential {
  readonly credential: 'token' | 'api_key'
  /** The generation of the client's secret under which the token was issued, or null for an API key. */
  readonly generation: number | null
  /** The id of the token (its claim `jti`), or null for an API key and for a token of an older version of Kolbak. */
  readonly token: string | null
}
/** The facts about a request that its events keep, because they could not be found out later. Kolbak chooses all except `agent` and `reason`. */
export interface RequestFacts {
  /** Kolbak's own id of the request, a ULID. */
  readonly request_id: string
  /** The operation id of the route. */
  readonly operation: string
  readonly auth?: Credential
  readonly origin: Origin
  /** The words of the caller in `Kolbak-Reason`. They are stored readable, so they must not contain personal data. */
  readonly reason?: string
}
/** The address from which a request came, as the trusted proxies report it, and its `User-Agent`. */
export interface Origin {
  readonly address: string
  readonly agent: string | null
}

export interface Metadata {
  /** The schema number of the data. `upcast` (events/schema.ts) converts data of lower numbers. */
  readonly schema: number
  readonly actor: Actor
  readonly tenant: string
  /** RFC 3339, UTC, milliseconds. On a command stream, no event has an earlier time than the event before it. */
  readonly time: string
  readonly $correlationId: string
  readonly $causationId: string | null
  /**
   * The hash of the previous event, on command streams only. It is the SHA-256 (hex) of `JSON.stringify([type, data, metadata])` of the stored event,
   * or null at revision 0.
   */
  readonly prev?: string | null
  /** The version of Kolbak that stored the event. Command events before version 0.3 have none of the following fields. */
  readonly app?: string
  readonly request_id?: string
  /** The replay job that replayed a delivery. */
  readonly job?: string
  readonly operation?: string
  readonly auth?: Credential
  readonly reason?: string
  /** The `Origin` of the request as JSON, sealed under the tenant's data key. */
  readonly origin?: string
  /** A commitment to each sealed value, by the name of its field. With it one value can be shown and proven without the others. */
  readonly commits?: Readonly<Record<string, string>>
  /** The MAC (base64url) of the event under a key of the service. It is the last field of the metadata. */
  readonly mac?: string
}

/** An event as a decider decides it, before it has an id and metadata. `Events` gives the data of each type of event. */
export type DecidedEvent<Events extends object = Readonly<Record<string, object>>> = {
  [T in keyof Events & string]: { readonly type: T; readonly data: Events[T] }
}[keyof Events & string]

/** An event that has not been stored yet. Its data is JSON. */
export interface NewEvent<T extends string = string, D = object> {
  readonly id: EventId
  readonly type: T
  readonly data: D
  readonly metadata: Metadata
}

/** A position in the order of all events. It is opaque, of fixed width, and can be compared with `<`. */
export type Checkpoint = string & { readonly checkpoint: true }

/**
 * Returns data or metadata of a stored event as an object. Kolbak's data are objects, but other applications may write any JSON to a shared
 * store.
 */
export const objectOf = (value: unknown): object => (typeof value === 'object' && value !== null ? value : {})

export interface RecordedEvent<T extends string = string, D = object> extends NewEvent<T, D> {
  readonly stream: StreamName
  /** Counts from 0 in every adapter. */
  readonly revision: number
  readonly position: Checkpoint
  /**
   * Set when the store and the delivery log share a database, and this event alone is the history of its delivery. The delivery log then reads it from
   * the store.
   */
  readonly in_history?: true
}
