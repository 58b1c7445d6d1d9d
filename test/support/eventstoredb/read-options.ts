import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js'
import type { Stored } from './stored.ts'

/** Returns the start of a read or a subscription: a revision of a stream, or a commit position of $all. */
export function startOf(options: ReadReq.Options): 'start' | 'end' | number {
  const stream = options.getStream()
  if (stream !== undefined) return stream.hasStart() ? 'start' : stream.hasEnd() ? 'end' : Number(stream.getRevision())
  const all = options.getAll()
  if (all === undefined || all.hasStart()) return 'start'
  return all.hasEnd() ? 'end' : Number(all.getPosition()?.getCommitPosition())
}

export interface Filter {
  passes(event: Stored): boolean
  /** A checkpoint is sent after this many examined events. Null without a filter. */
  readonly window: number | null
}
export function filterOf(options: ReadReq.Options): Filter {
  const filter = options.getFilter()
  if (filter === undefined) return { passes: () => true, window: null }
  const isOnType = filter.hasEventType()
  const expression = isOnType ? filter.getEventType() : filter.getStreamIdentifier()
  const regex = expression?.getRegex() ? new RegExp(expression.getRegex()) : null
  const prefixes = expression?.getPrefixList() ?? []
  return {
    passes(event) {
      const text = isOnType ? event.type : event.stream
      return regex === null ? prefixes.some((prefix) => text.startsWith(prefix)) : regex.test(text)
    },
    window: filter.hasMax() ? filter.getMax() * filter.getCheckpointintervalmultiplier() : Number.POSITIVE_INFINITY,
  }
}
