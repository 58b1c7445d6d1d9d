import type { EventId } from './ids.ts'
import type { StreamName } from './streams.ts'

/** The author of an event: `client:<client id>`, `key:<key id>` or `system:<part of Kolbak>`. */
export type Actor = `client:${string}` | `key:${string}` | `system:${string}`

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
}
