import type { MessageRef } from '../../events/refs.ts'
import { erasedBody, isErased } from '../../events/sealed-body.ts'
import { mapBounded } from '../../lib/bounded.ts'
import { msPerDay } from '../../lib/days.ts'
import type { BodyArchive } from '../../ports/delivery-log.ts'
import type { Retention } from './retention.ts'
import type { Session } from './session.ts'

/** The most writes in flight at once for one call. The number is low, because bodies may be large. */
const atOnce = 32

/** Stores sealed bodies by message and fingerprint. A repeated write changes nothing, and a body with another fingerprint gets another row. */
export function createBodyArchive(session: Session, keyspace: string, kept: Retention): BodyArchive {
  const insert = `insert into ${keyspace}.sealed_bodies (tenant, message, fingerprint, sealed_body) values (?, ?, ?, ?) using ttl ?`
  const select = `select sealed_body from ${keyspace}.sealed_bodies where tenant = ? and message = ? and fingerprint = ?`
  const erase = async ({ tenant, message, fingerprint, accepted_at }: MessageRef): Promise<void> => {
    const ttl = kept.ttlOf(accepted_at)
    if (ttl === null) return
    // Of two writes, Cassandra keeps the one with the later timestamp. This one is later than every write until the row expires.
    const microseconds = (Date.now() + ttl * 1_000 + msPerDay) * 1_000
    await session.write([{ cql: `${insert} and timestamp ?`, params: [tenant, message, fingerprint, erasedBody, ttl, microseconds] }])
  }
  return {
    async archive(bodies) {
      await mapBounded(bodies, atOnce, async (body) => {
        const { tenant, message, fingerprint, accepted_at, sealedBody } = body
        if (isErased(sealedBody)) return erase(body) // A move copies bodies that were erased.
        const ttl = kept.ttlOf(accepted_at)
        if (ttl !== null) await session.write([{ cql: insert, params: [tenant, message, fingerprint, sealedBody, ttl] }])
      })
    },
    async erase(messages) {
      await mapBounded(messages, atOnce, erase)
    },
    bodies: (messages) =>
      mapBounded(messages, atOnce, async ({ tenant, message, fingerprint }) => {
        const { rows } = await session.read({ cql: select, params: [tenant, message, fingerprint] }, 1)
        return (rows[0]?.sealed_body as Buffer | undefined) ?? null
      }),
  }
}
