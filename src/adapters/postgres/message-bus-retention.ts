import type { ClientBase, Pool } from 'pg'

/**
 * A lag up to this number is counted exactly. A larger lag is the difference of two offsets, because counting the rows would take too long. It is
 * then an upper bound, because rollbacks and crashes leave gaps in the offsets.
 */
const exactUpTo = 10_000

/** Returns for each partition the number of records at or after its saved offset. */
export async function busLag(pool: Pool, partitions: number, saved: ReadonlyMap<number, bigint>): Promise<Map<number, number>> {
  const partitionNumbers = Array.from({ length: partitions }, (_, partition) => partition)
  const { rows } = await pool.query<{ partition: number; lag: bigint }>({
    name: 'messages-lag',
    text: `select partition, case
             when newest is null or newest < next then 0
             when counted < $3 then counted
             else newest - next + 1
           end as lag
           from unnest($1::integer[], $2::bigint[]) as part (partition, next)
           cross join lateral (select pg_sequence_last_value(('messages_offset_' || partition)::regclass) as newest) as counter
           cross join lateral (
             select count(*) as counted from (
               select from messages m where newest >= next and m.partition = part.partition and m."offset" >= next limit $3
             ) as following
           ) as number`,
    values: [
      `{${partitionNumbers.join(',')}}`,
      `{${partitionNumbers.map((partition) => saved.get(partition) ?? 0n).join(',')}}`,
      exactUpTo,
    ],
  })
  return new Map(rows.map((row) => [row.partition, Number(row.lag)]))
}

/**
 * Bytes of a record that are read to find its time of acceptance. The time is near the beginning of the head (`encodeRecord`), after a number and an id.
 */
const headBytes = 256

/** Returns the time of acceptance of the oldest record at or after the saved offset of its partition, or null. */
export async function oldestOnBus(pool: Pool, partitions: number, saved: ReadonlyMap<number, bigint>): Promise<string | null> {
  const allPartitions = Array.from({ length: partitions }, (_, partition) => partition)
  const { rows } = await pool.query<{ head: Buffer }>({
    name: 'messages-oldest',
    text: `select first.head
           from unnest($1::integer[], $2::bigint[]) as part (partition, next)
           cross join lateral (select pg_sequence_last_value(('messages_offset_' || partition)::regclass) as newest) as counter
           cross join lateral (
             select substring(record from 1 for $3) as head from messages m
             where newest >= next and m.partition = part.partition and m."offset" >= next order by m."offset" limit 1
           ) as first`,
    values: [`{${allPartitions.join(',')}}`, `{${allPartitions.map((partition) => saved.get(partition) ?? 0n).join(',')}}`, headBytes],
  })
  // A record without a readable time is quarantined as soon as it is consumed, so it does not count.
  const times = rows.flatMap(({ head }) => /"accepted_at":"([^"]+)"/.exec(head.toString('latin1', 4))?.[1] ?? [])
  return times.sort()[0] ?? null
}

/** Returns for each partition the offset after the last one that was assigned. */
export async function busEnds(pool: Pool, partitions: number): Promise<Map<number, bigint>> {
  const { rows } = await pool.query<{ partition: number; end: bigint }>({
    name: 'messages-ends',
    text: `select partition, coalesce(pg_sequence_last_value(('messages_offset_' || partition)::regclass) + 1, 0) as end
           from generate_series(0, $1 - 1) as partition`,
    values: [partitions],
  })
  return new Map(rows.map(({ partition, end }) => [partition, end]))
}

/** Returns whether all records of a day partition are done, because they are before the saved offset of their bus partition. */
export async function holdsNothingUnread(
  client: ClientBase,
  dayPartition: string,
  savedOffsets: ReadonlyMap<number, bigint>,
): Promise<boolean> {
  const { rows } = await client.query<{ unread: boolean }>(
    // Bus partitions are numbered from 0. The query checks every number up to the highest of the day, even if fewer are configured now.
    `select exists (
       select from generate_series(0, (select max(partition) from ${dayPartition})) as number
       left join unnest($1::integer[], $2::bigint[]) as saved (partition, next) on saved.partition = number
       where exists (select from ${dayPartition} m where m.partition = number and m."offset" >= coalesce(next, 0))
     ) as unread`,
    [`{${[...savedOffsets.keys()].join(',')}}`, `{${[...savedOffsets.values()].join(',')}}`],
  )
  return rows[0]?.unread === false
}
