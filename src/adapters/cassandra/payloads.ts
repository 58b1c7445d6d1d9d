import { mapBounded } from '../../lib/bounded.ts'
import type { PayloadArchive } from '../../ports/delivery-log.ts'
import type { Retention } from './retention.ts'
import type { Session } from './session.ts'

/** Payloads may be large: so many under way at once for one call are some megabytes. */
const atOnce = 32

/** Payloads by message and content: a repeated write writes the same, and other content stands beside it. */
export function payloadArchive(session: Session, keyspace: string, kept: Retention): PayloadArchive {
  const insert = `insert into ${keyspace}.payloads (tenant, message, fingerprint, payload) values (?, ?, ?, ?) using ttl ?`
  const select = `select payload from ${keyspace}.payloads where tenant = ? and message = ? and fingerprint = ?`
  return {
    async archive(payloads) {
      await mapBounded(payloads, atOnce, async ({ tenant, message, fingerprint, accepted_at, payload }) => {
        const ttl = kept.left(accepted_at)
        if (ttl !== null) await session.write([{ cql: insert, params: [tenant, message, fingerprint, payload, ttl] }])
      })
    },
    payloads: (keys) =>
      mapBounded(keys, atOnce, async ({ tenant, message, fingerprint }) => {
        const { rows } = await session.read({ cql: select, params: [tenant, message, fingerprint] }, 1)
        return (rows[0]?.payload as Buffer | undefined) ?? null
      }),
  }
}
