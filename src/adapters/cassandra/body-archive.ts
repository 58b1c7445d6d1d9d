import { mapBounded } from '../../lib/bounded.ts'
import type { BodyArchive } from '../../ports/delivery-log.ts'
import type { Retention } from './retention.ts'
import type { Session } from './session.ts'

/** The most writes in flight at once for one call. The number is low, because bodies may be large. */
const atOnce = 32

/** Stores sealed bodies by message and fingerprint. A repeated write changes nothing, and a body with another fingerprint gets another row. */
export function createBodyArchive(session: Session, keyspace: string, kept: Retention): BodyArchive {
  const insert = `insert into ${keyspace}.sealed_bodies (tenant, message, fingerprint, sealed_body) values (?, ?, ?, ?) using ttl ?`
  const select = `select sealed_body from ${keyspace}.sealed_bodies where tenant = ? and message = ? and fingerprint = ?`
  return {
    async archive(bodies) {
      await mapBounded(bodies, atOnce, async ({ tenant, message, fingerprint, accepted_at, sealedBody }) => {
        const ttl = kept.left(accepted_at)
        if (ttl !== null) await session.write([{ cql: insert, params: [tenant, message, fingerprint, sealedBody, ttl] }])
      })
    },
    bodies: (messages) =>
      mapBounded(messages, atOnce, async ({ tenant, message, fingerprint }) => {
        const { rows } = await session.read({ cql: select, params: [tenant, message, fingerprint] }, 1)
        return (rows[0]?.sealed_body as Buffer | undefined) ?? null
      }),
  }
}
