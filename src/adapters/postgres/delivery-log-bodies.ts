import type { Pool } from 'pg'
import type { MessageRef } from '../../events/refs.ts'
import { erasedBody } from '../../events/sealed-body.ts'
import type { ArchivedBody, BodyArchive } from '../../ports/delivery-log.ts'
import { type DayPartitions, isMissingPartition } from './day-partitions.ts'

const acceptedDayOf = (message: MessageRef): string => message.accepted_at.slice(0, 10)
/** One statement writes at most this many rows and bytes. */
const group = { rows: 500, bytes: 4 << 20 }

/** Makes the archive for a bus that cannot read a record again by its place. */
export function createArchive(pool: Pool, days: DayPartitions): BodyArchive {
  const insert = async (bodies: readonly ArchivedBody[], isRetry = false): Promise<void> => {
    await days.ensure(bodies.map(acceptedDayOf))
    const starts: number[] = []
    let end = 1
    for (const { sealedBody } of bodies) {
      starts.push(end)
      end += sealedBody.length
    }
    try {
      await pool.query({
        name: 'sealed-bodies-archive',
        text: `insert into sealed_bodies (day, tenant, message, fingerprint, sealed_body)
               select day, tenant, message, fingerprint, substring($7::bytea from start for size)
               from unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::integer[])
                 as p (day, tenant, message, fingerprint, start, size)
               on conflict do nothing`,
        values: [
          bodies.map(acceptedDayOf),
          bodies.map((key) => key.tenant),
          bodies.map((key) => key.message),
          bodies.map((key) => key.fingerprint),
          `{${starts.join(',')}}`,
          `{${bodies.map(({ sealedBody }) => sealedBody.length).join(',')}}`,
          Buffer.concat(bodies.map(({ sealedBody }) => sealedBody)),
        ],
      })
    } catch (error) {
      if (isRetry || !isMissingPartition(error)) throw error
      days.forget()
      await insert(bodies, true)
    }
  }
  const archive = async (bodies: readonly ArchivedBody[]): Promise<void> => {
    // All writers sort by key, because two writers that write the same keys in different orders would deadlock.
    const sorted = bodies
      .map((body) => ({ body, key: `${body.tenant} ${body.message} ${body.fingerprint} ${acceptedDayOf(body)}` }))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map(({ body }) => body)
    for (const bodyGroup of groups(sorted)) await insert(bodyGroup)
  }
  return {
    archive,
    async erase(messages) {
      // A body that is not archived yet gets an empty row now, so that a later `archive` does not store it.
      await archive(messages.map((message) => ({ ...message, sealedBody: erasedBody })))
      for (const { tenant, message, fingerprint } of messages)
        await pool.query(
          `update sealed_bodies set sealed_body = '' where tenant = $1 and message = $2 and fingerprint = $3 and sealed_body <> ''`,
          [tenant, message, fingerprint],
        )
    },
    async bodies(keys) {
      if (keys.length === 0) return []
      const { rows } = await pool.query<{ sealed_body: Buffer | null }>(
        `select b.sealed_body
         from unnest($1::date[], $2::text[], $3::text[], $4::text[]) with ordinality as k (day, tenant, message, fingerprint, place)
         left join lateral (
           select sealed_body from sealed_bodies where tenant = k.tenant and message = k.message and fingerprint = k.fingerprint and day = k.day limit 1
         ) as b on true
         order by k.place`,
        [keys.map(acceptedDayOf), keys.map((key) => key.tenant), keys.map((key) => key.message), keys.map((key) => key.fingerprint)],
      )
      return rows.map((row) => row.sealed_body)
    },
  }
}

function* groups(bodies: readonly ArchivedBody[]): Generator<ArchivedBody[]> {
  let next: ArchivedBody[] = []
  let bytes = 0
  for (const body of bodies) {
    next.push(body)
    bytes += body.sealedBody.length
    if (next.length < group.rows && bytes < group.bytes) continue
    yield next
    next = []
    bytes = 0
  }
  if (next.length > 0) yield next
}
