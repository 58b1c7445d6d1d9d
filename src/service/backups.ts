import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import type { Client } from 'pg'
import { type DumpProgress, type DumpResult, dump } from '../adapters/postgres/backup/dump.ts'
import { type BackupHeader, BackupReader, damaged, notABackup } from '../adapters/postgres/backup/format.ts'
import { checkEmpty, checkHeader, load } from '../adapters/postgres/backup/load.ts'
import { connect } from '../adapters/postgres/session.ts'
import type { Config } from '../config/config.ts'
import { codeOf } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { openPostgres, throwRefusal } from './database.ts'
import { version } from './version.ts'

type DatabaseConfig = Pick<Config, 'DATABASE_URL' | 'KOLBAK_DATA_DIR'>

/** A backup may take as long as it needs, so its session has no time limits. */
const session = (name: string) => ({ name, statementTimeoutMs: 0, idleInTransactionMs: 0 })
/** The fastest level. Most of a backup is sealed, and a higher level would not make it smaller. */
const compression = { level: 1, chunkSize: 1 << 18 }

/**
 * Writes a backup of the database of a service, which may run meanwhile. The database is not migrated, so that the new version can make a backup
 * before an upgrade. Resolves when the whole backup is written. Throws KolbakError `nothing_to_back_up`.
 */
export async function writeBackup(
  config: DatabaseConfig,
  log: Log,
  output: Writable,
  onProgress: (progress: DumpProgress) => void,
): Promise<DumpResult> {
  const postgres = await openPostgres(config, log, { join: true })
  try {
    const client = await connect(postgres.url, session('backup')).catch(throwRefusal)
    try {
      let result: DumpResult | undefined
      const text = async function* () {
        result = yield* dump(client, version, onProgress)
      }
      let bytes = 0
      const counted = async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          bytes += chunk.length
          yield chunk
        }
      }
      await pipeline(text, createGzip(compression), counted, output)
      await recordBackup(client, result!, bytes).catch((error: unknown) => log.warn({ error }, 'backup.not_recorded'))
      return result!
    } finally {
      await client.end()
    }
  } finally {
    await postgres.stop()
  }
}

/** Records a backup, so that the operators see its age. A database of a version before the table `backups`, or a read-only copy, records nothing. */
async function recordBackup(client: Client, { header, rows, sha256 }: DumpResult, bytes: number): Promise<void> {
  const { rows: states } = await client.query<{ can_record: boolean }>(
    `select to_regclass('public.backups') is not null and not pg_is_in_recovery() as can_record`,
  )
  if (states[0]?.can_record !== true) return
  await client.query('insert into public.backups (made_at, bytes, row_count, sha256) values ($1, $2, $3, $4)', [
    ...[header.made_at, bytes, rows, sha256],
  ])
}

export interface RestoreResult {
  readonly header: BackupHeader
  readonly rows: number
  readonly sha256: string
}

/**
 * Restores a backup into the empty database of a service that does not run. Either the whole backup is restored, or nothing.
 *
 * Throws KolbakError `not_a_backup`, `backup_damaged` or `database_not_empty`, and for a backup of another version the errors of `checkHeader`.
 */
export async function restoreBackup(
  config: DatabaseConfig,
  log: Log,
  input: Readable,
  onProgress: (progress: { part: string; tablesDone: number; tables: number }) => void,
): Promise<RestoreResult> {
  const gunzip = createGunzip({ chunkSize: 1 << 18 })
  const decompressed = pipeline(input, gunzip).catch((error: unknown) => void gunzip.destroy(error as Error))
  const backup = new BackupReader(gunzip)
  try {
    const header = await backup.header()
    await checkHeader(header)
    const postgres = await openPostgres(config, log)
    try {
      const client = await connect(postgres.url, session('restore')).catch(throwRefusal)
      try {
        await checkEmpty(client)
        const end = await load(client, backup, ({ part, tablesDone }) => onProgress({ part, tablesDone, tables: header.tables }))
        await client.query('analyze') // Postgres makes bad plans without statistics
        return { header, ...end }
      } finally {
        await client.end()
      }
    } finally {
      await postgres.stop()
    }
  } catch (error) {
    if (/incorrect header check/.test((error as Error).message)) throw notABackup(error)
    if (/^Z_|^ERR_STREAM_PREMATURE_CLOSE$/.test(codeOf(error) ?? '')) throw damaged((error as Error).message, error)
    throw error
  } finally {
    input.destroy()
    gunzip.destroy()
    await decompressed
  }
}
