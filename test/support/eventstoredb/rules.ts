import type { Expected, Stored } from './stored.ts'

/** The part of a stream's state that the decision needs. */
export interface StreamState {
  /** The revision of the last event, or -1 when the stream has none. */
  readonly current: number
  readonly isTombstoned: boolean
  readonly isSoftDeleted: boolean
  readonly hasMetadata: boolean
  at(revision: number): Stored | undefined
  byId(id: string): Stored | undefined
}
export type Decision =
  | { readonly kind: 'append' }
  /** The whole append has happened before. `last` is its last event. */
  | { readonly kind: 'repeat'; readonly last: Stored }
  | { readonly kind: 'wrong'; readonly current: number }
  | { readonly kind: 'deleted' }

/**
 * Returns the decision of EventStoreDB's index writer about an append (CheckCommit). Ids are searched only in this stream. If the first
 * event is stored and a later one is not ("corrupted idempotency"), the result is also a wrong version.
 */
export function decide(stream: StreamState, expected: Expected, ids: readonly string[]): Decision {
  const wrong: Decision = { kind: 'wrong', current: stream.current }
  if (stream.isTombstoned) return { kind: 'deleted' }
  if (expected === 'stream_exists') {
    if (stream.isSoftDeleted) return { kind: 'deleted' }
    if (stream.current < 0 && !stream.hasMetadata) return wrong
  }
  if (expected === 'any' || expected === 'stream_exists')
    return compare(
      ids.map((id) => stream.byId(id)),
      { kind: 'append' },
      wrong,
    )

  const revision = expected === 'no_stream' ? -1 : expected
  if (revision > stream.current) return wrong
  if (revision === stream.current) return { kind: 'append' }
  return compare(
    ids.map((id, i) => {
      const storedEvent = stream.at(revision + 1 + i)
      return storedEvent?.id === id ? storedEvent : undefined
    }),
    expected === 'no_stream' && stream.isSoftDeleted ? { kind: 'append' } : wrong,
    wrong,
  )
}

/** @param known for each event of the append the stored event that it repeats */
function compare(known: readonly (Stored | undefined)[], firstUnknown: Decision, laterUnknown: Decision): Decision {
  const unknown = known.indexOf(undefined)
  if (unknown > 0) return laterUnknown
  const last = known.at(-1)
  return unknown === 0 || last === undefined ? firstUnknown : { kind: 'repeat', last }
}
