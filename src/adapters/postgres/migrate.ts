import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { runner } from 'node-pg-migrate'
import type pg from 'pg'
import { KolbakError } from '../../lib/errors.ts'
import { connect } from './session.ts'

const folder = fileURLToPath(new URL('./migrations', import.meta.url))
const table = 'schema_migrations'

/**
 * Runs the migrations that the database has not run yet, in the order of their numbers, each in a separate transaction. One process at a
 * time runs migrations; other processes wait. Returns the names of the migrations that this call has run.
 *
 * Throws KolbakError `database_of_older_version` or `database_of_newer_version` for a database that this version cannot use, before anything
 * is changed.
 */
export async function migrate(url: string): Promise<string[]> {
  // A migration may take as long as it needs, so it has no time limits.
  const client = await connect(url, { name: 'migrate', statementTimeoutMs: 0, idleInTransactionMs: 0 })
  try {
    await checkVersion(await migrationsOf(client))
    const migrations = await runner({
      dbClient: client,
      dir: folder,
      migrationsTable: table,
      direction: 'up',
      advisoryLockMode: 'wait',
      log: () => {},
    })
    return migrations.map((migration) => migration.name)
  } finally {
    await client.end()
  }
}

/** Returns the migrations that a database has run, in their order. */
export async function migrationsOf(client: pg.ClientBase): Promise<string[]> {
  const exists = await client.query<{ exists: boolean }>('select to_regclass($1) is not null as exists', [`public.${table}`])
  if (!exists.rows[0]?.exists) return []
  const { rows } = await client.query<{ name: string }>(`select name from public.${table} order by id`)
  return rows.map(({ name }) => name)
}

/** Throws unless these are the first migrations of this version, and no others. */
export async function checkVersion(migrations: readonly string[]): Promise<void> {
  const names = (await readdir(folder)).map((file) => file.replace(/\.sql$/, '')).sort()
  const [base] = names
  if (migrations.length > 0 && migrations[0] !== base)
    throw new KolbakError(
      'database_of_older_version',
      'The database was made by Kolbak 0.1.0, whose schema this version cannot take over: version 0.2.0 began with a new one. ' +
        'Set DATABASE_URL to a new, empty database; if Kolbak runs its own Postgres, set KOLBAK_DATA_DIR to a new folder or remove the old one.',
    )
  const unknown = migrations.find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw new KolbakError(
      'database_of_newer_version',
      `The database was changed by a newer version of Kolbak (it has the migration ${unknown}, which this version does not know): ` +
        'start that version or a later one, or restore the database from a backup of before the upgrade.',
    )
}
