import { statfs } from 'node:fs/promises'
import type { Pool } from 'pg'
import type { OperationsReport } from '../api/responses.ts'
import { sqlOn } from '../lib/sql.ts'

type Storage = Pick<OperationsReport, 'database_bytes' | 'replication_slots' | 'last_backup' | 'disk'>

/** Reads the sizes and free space that an operator watches, and the last backup. */
export async function readStorage(pool: Pool, dataDir: string): Promise<Storage> {
  const sql = sqlOn(pool)
  const [[database], replication_slots, [backup], disk] = await Promise.all([
    sql<{ bytes: bigint }>`select pg_database_size(current_database()) as bytes`,
    sql<{ name: string; is_active: boolean; retained: bigint | null }>`
      select slot_name as name, active as is_active, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 as retained
      from pg_replication_slots order by slot_name`,
    sql<{ made_at: string; age_seconds: number; bytes: bigint; row_count: bigint }>`
      select made_at, extract(epoch from clock_timestamp() - made_at)::double precision as age_seconds, bytes, row_count
      from backups order by made_at desc limit 1`,
    diskOf(dataDir),
  ])
  return {
    database_bytes: Number(database?.bytes ?? 0n),
    replication_slots: replication_slots.map(({ retained, ...slot }) => ({ ...slot, retained_bytes: Number(retained ?? 0n) })),
    last_backup:
      backup === undefined
        ? null
        : {
            made_at: backup.made_at,
            age_seconds: Math.max(0, Math.round(backup.age_seconds)),
            bytes: Number(backup.bytes),
            rows: Number(backup.row_count),
          },
    disk,
  }
}

/** Returns the size of the file system of a folder, or null if there is no such folder, for instance with an external database. */
async function diskOf(folder: string): Promise<Storage['disk']> {
  const { bsize, blocks, bavail } = await statfs(folder).catch(() => ({ bsize: 0, blocks: 0, bavail: 0 }))
  return blocks === 0 ? null : { total_bytes: bsize * blocks, free_bytes: bsize * bavail }
}
