import { randomBytes } from 'node:crypto'
import type { Pool } from 'pg'
import { KolbakError } from '../../lib/errors.ts'

export type Port = 'event_store' | 'message_bus' | 'delivery_log'

/**
 * Records the identity of the engine behind a port at the first start, and checks it at every later one. Returns the recorded identity.
 * An engine without an identity of its own (Postgres) is given a random one, which a backup keeps. Throws KolbakError `engine_changed`
 * when the port had another adapter or engine at the last start.
 * @param own the engine's own identity, which begins with the adapter's name; null for an engine that has none
 */
export async function recordEngine(pool: Pool, port: Port, adapter: string, own: string | null = null): Promise<string> {
  const identity = own ?? `${adapter}-${randomBytes(4).toString('hex')}`
  await pool.query('insert into engines (port, identity) values ($1, $2) on conflict (port) do nothing', [port, identity])
  const { rows } = await pool.query<{ identity: string }>('select identity from engines where port = $1', [port])
  const recorded = rows[0]?.identity ?? identity
  if (own === null ? !recorded.startsWith(`${adapter}-`) : recorded !== identity)
    throw new KolbakError(
      'engine_changed',
      `The ${port.replaceAll('_', ' ')} was ${recorded} the last time, and is ${own === null ? adapter : identity} now. ` +
        'The data of the former engine are not in the new one: configure the former engine again, or move its data with ' +
        `\`kolbak move ${port}\` (see docs/operations.md).`,
    )
  return recorded
}
