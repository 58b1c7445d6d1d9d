import { createHash, randomBytes } from 'node:crypto'
import type { Pool } from 'pg'
import type { ClientId } from '../../events/ids.ts'
import { sqlOn } from '../../lib/sql.ts'

/** The codes of the one-time links that a start prints. A person who has a code may sign in to the dashboard once, as the client of the code. */
export interface StartCodes {
  /** Returns a new code, which is valid for ten minutes. */
  issue(client: ClientId): Promise<string>
  /** Returns the client of a code and makes the code invalid. Returns null for a code that is unknown, used or expired. */
  redeem(code: string): Promise<ClientId | null>
}

const validMinutes = 10
/** A code is 32 random bytes, so its plain hash cannot be guessed from a copy of the table. */
const hashOf = (code: string): Buffer => createHash('sha256').update(code).digest()

/** The codes are in Postgres, because any process that shares the port may get the request with the code. */
export function createStartCodes(pool: Pool): StartCodes {
  const sql = sqlOn(pool)
  return {
    async issue(client) {
      const code = randomBytes(32).toString('base64url')
      await sql`delete from ui_start_codes where expires_at < clock_timestamp()`
      await sql`insert into ui_start_codes (code_hash, client_id, expires_at)
        values (${hashOf(code)}, ${client}, clock_timestamp() + make_interval(mins => ${validMinutes}))`
      return code
    },
    async redeem(code) {
      const [row] = await sql<{ client_id: ClientId; is_valid: boolean }>`
        delete from ui_start_codes where code_hash = ${hashOf(code)} returning client_id, expires_at > clock_timestamp() as is_valid`
      return row?.is_valid === true ? row.client_id : null
    },
  }
}
