import type { EventId } from './ids.ts'
import type { StreamName } from './streams.ts'

/** Who caused an event: `client:<client id>`, `key:<key id>` or `system:<what>`. */
export type Actor = `client:${string}` | `key:${string}` | `system:${string}`

export interface Metadata {
  /** The number of the data's shape; `upcast` lifts older ones. */
  readonly schema: number
  readonly actor: Actor
  readonly tenant: string
  /** RFC 3339, UTC, milliseconds. On command streams never before the previous event's. */
  readonly time: string
  readonly $correlationId: string
  readonly $causationId: string | null
  /** Command streams only: SHA-256 (hex) of `JSON.stringify([type, data, metadata])` of the stream's previous event as stored; null at revision 0. */
  readonly prev?: string | null
}

/** An event as a decider decides it, before it has an id and metadata. `Events` gives the data of each type of event. */
export type DecidedEvent<Events extends object = Readonly<Record<string, object>>> = {
  [T in keyof Events & string]: { readonly type: T; readonly data: Events[T] }
}[keyof Events & string]

/** A fact that has not been stored yet. Its data is flat JSON. */
export interface NewEvent<T extends string = string, D = object> {
  readonly id: EventId
  readonly type: T
  readonly data: D
  readonly metadata: Metadata
}

/** A reader's place in the order of all events: opaque, fixed width, compares with `<`. */
export type Checkpoint = string & { readonly checkpoint: true }

/** Data or metadata as a store has read it: an object, as ours are, though whoever may write to a store may have written anything. */
export const objectOf = (value: unknown): object => (typeof value === 'object' && value !== null ? value : {})

export interface RecordedEvent<T extends string = string, D = object> extends NewEvent<T, D> {
  readonly stream: StreamName
  /** From 0 in every adapter. */
  readonly revision: number
  readonly position: Checkpoint
}
