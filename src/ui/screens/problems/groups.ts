import type { Delivery } from '../../lib/types.ts'

/** Deliveries to one webhook that failed with the same result. */
export interface Group {
  readonly key: string
  readonly webhook: string
  readonly code: number | null
  readonly reason: string | null
  readonly count: number
  /** The names of the events, the most frequent first. */
  readonly events: readonly string[]
  /** The times at which the first and the last of the events were accepted. */
  readonly first: string
  readonly last: string
  /** The id of the latest of the deliveries. */
  readonly example: string
}

/** Groups deliveries by webhook and result. The largest group comes first. */
export function groupsOf(deliveries: readonly Delivery[]): Group[] {
  const groups = Map.groupBy(
    deliveries,
    ({ webhook_id, last_response_code, last_reason }) => `${webhook_id} ${last_response_code ?? last_reason}`,
  )
  return [...groups]
    .map(([key, members]) => {
      const [latest] = members
      const times = members.map(({ accepted_at }) => accepted_at).sort()
      const names = [...Map.groupBy(members, ({ event }) => event)].sort(([, a], [, b]) => b.length - a.length).map(([name]) => name)
      return {
        ...{ key, webhook: latest?.webhook_id ?? '', code: latest?.last_response_code ?? null, reason: latest?.last_reason ?? null },
        ...{ count: members.length, events: names, first: times[0] ?? '', last: times.at(-1) ?? '', example: latest?.id ?? '' },
      }
    })
    .sort((a, b) => b.count - a.count)
}
