import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { KolbakError } from '../../../lib/errors.ts'
import { checkVersion } from '../migrate.ts'
import { type BackupHeader, type BackupReader, backupFormat, damaged } from './format.ts'

/**
 * Throws KolbakError `backup_of_newer_version`, `database_of_newer_version` or `database_of_older_version` for a backup that this version
 * cannot restore.
 */
export async function checkHeader({ format, migrations, kolbak }: BackupHeader): Promise<void> {
  if (format !== backupFormat)
    throw new KolbakError(
      'backup_of_newer_version',
      `The backup was made by Kolbak ${kolbak}: restore it with that version or a later one.`,
    )
  await checkVersion(migrations)
}

/** Throws KolbakError `database_not_empty` when a database has tables, views or sequences. Those of extensions do not count. */
export async function checkEmpty(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
       and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
     order by c.relkind in ('r', 'p') desc, 1 limit 1`,
  )
  if (rows[0] !== undefined)
    throw new KolbakError(
      'database_not_empty',
      `The database holds data already (${rows[0].name}), and a restore overwrites nothing: set DATABASE_URL to a new, empty database, ` +
        'or KOLBAK_DATA_DIR to a new folder.',
    )
}

/**
 * Restores the parts of a backup into an empty database, in one transaction, so that either all of it is restored or nothing. Throws KolbakError
 * `database_not_empty` or `backup_damaged`.
 */
export async function load(
  client: pg.Client,
  backup: BackupReader,
  onProgress: (progress: { part: string; tablesDone: number }) => void,
): Promise<{ rows: number; sha256: string }> {
  await client.query('begin')
  try {
    await checkEmpty(client)
    const parts = backup.parts()
    let tablesDone = 0
    for (;;) {
      const { value: part, done } = await parts.next()
      if (done) {
        await client.query('commit')
        return part
      }
      if (part.kind === 'sql') {
        onProgress({ part: /^[^\n(]*/.exec(part.text)?.[0] ?? '', tablesDone })
        await client.query(part.text).catch(throwDamaged)
      } else {
        onProgress({ part: part.table, tablesDone })
        const into = client.query(copyFrom(part.copy.replace(/;$/, '')))
        await pipeline(Readable.from(part.rows), into).catch(throwDamaged)
        if (into.rowCount !== part.count()) throw damaged(`it does not have all rows of ${part.table}`)
        tablesDone++
      }
    }
  } catch (error) {
    await client.query('rollback').catch(() => {}) // a lost connection ends the transaction too
    throw error
  }
}

/** Throws `backup_damaged` if Postgres has refused a statement, because then the statement was altered. Throws any other error unchanged. */
function throwDamaged(error: unknown): never {
  if (error instanceof Error && 'severity' in error && /^(22|23|42)/.test(String((error as { code?: string }).code)))
    throw damaged(error.message, error)
  throw error
}
