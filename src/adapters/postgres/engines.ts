import { randomBytes } from 'node:crypto'
import type { Pool } from 'pg'
import { KolbakError } from '../../lib/errors.ts'

export type Port = 'event_store' | 'message_bus' | 'delivery_log'

/**
 * Records the identity of a port's engine at the first start, and checks the identity at every later start. Returns the recorded identity.
 * An engine that reports no identity (Postgres) gets a random one, and a backup keeps it. Throws KolbakError `engine_changed` when the port
 * had another adapter or engine at the last start.
 * @param own the identity that the engine reports, which begins with the name of the adapter; null when the engine reports none
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
