import { createHash } from 'node:crypto'
import type pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { codeOf, KolbakError } from '../../../lib/errors.ts'
import { migrationsOf } from '../migrate.ts'
import { type BackupHeader, backupFormat, linesIn } from './format.ts'
import { type BackupSchema, describeSchema } from './schema.ts'

export interface DumpProgress {
  readonly table: string
  readonly tablesDone: number
  readonly tables: number
  readonly rows: number
}
export interface DumpResult {
  readonly header: BackupHeader
  readonly rows: number
  readonly sha256: string
  /** The objects that the backup leaves out because Kolbak has not created them. */
  readonly skipped: readonly string[]
}

const preamble = `-- A backup of Kolbak. \`npm run operate -- restore FILE\` checks it and restores it. To restore it into an empty database without Kolbak, run:
-- gunzip --stdout FILE | psql --single-transaction --set ON_ERROR_STOP=1 DATABASE_URL
`
const settings = [
  "client_encoding = 'UTF8'",
  "timezone = 'UTC'",
  "datestyle = 'ISO'",
  'check_function_bodies = off',
  "search_path = ''", // all names are written with their schemas
]
  .map((setting) => `set local ${setting}`)
  .join(';\n')

/**
 * Yields the text of a backup (see format.ts) of one snapshot of the database. The service may run meanwhile, and its reads and writes do not wait.
 * Expired data stay in the database until the backup has ended, because no table can be dropped meanwhile. Memory is bounded by the longest row.
 *
 * Throws KolbakError `nothing_to_back_up` for a database without tables of Kolbak.
 */
export async function* dump(
  client: pg.Client,
  version: string,
  onProgress: (progress: DumpProgress) => void,
): AsyncGenerator<Buffer, DumpResult> {
  const hash = createHash('sha256')
  let totalRows = 0
  const hashed = (text: string | Buffer): Buffer => {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text
    hash.update(bytes)
    return bytes
  }
  try {
    const { schema, header } = await beginSnapshot(client, version)
    const { tables, before, after, sequences, skipped } = schema
    yield hashed(`--@ header ${JSON.stringify(header)}\n`)
    yield hashed(sqlPart(`${preamble}${settings}`))
    for (const statement of before) yield hashed(sqlPart(statement))
    for (const [tablesDone, { name, columns }] of tables.entries()) {
      yield hashed(`--@ rows ${name}\ncopy ${name} (${columns}) from stdin;\n`)
      let rows = 0
      onProgress({ table: name, tablesDone, tables: tables.length, rows: totalRows })
      for await (const chunk of client.query(copyTo(`copy ${name} (${columns}) to stdout`)) as AsyncIterable<Buffer>) {
        rows += linesIn(chunk)
        yield hashed(chunk)
        onProgress({ table: name, tablesDone, tables: tables.length, rows: totalRows + rows })
      }
      yield hashed(`\\.\n--@ counted ${rows}\n`)
      totalRows += rows
    }
    for (const statement of after) yield hashed(sqlPart(statement))
    // A sequence is not part of a snapshot. It is read last, so that its value is beyond every number in the rows.
    for (const { name, reference } of sequences) {
      const { rows } = await client.query<{ last: bigint; called: boolean }>(`select last_value as last, is_called as called from ${name}`)
      for (const { last, called } of rows) yield hashed(sqlPart(`select setval(${reference}, ${last}, ${called})`))
    }
    const end = { rows: totalRows, sha256: hash.digest('hex') }
    yield Buffer.from(`--@ end ${JSON.stringify(end)}\n`)
    return { header, ...end, skipped }
  } finally {
    await client.query('rollback').catch(() => {}) // a lost connection ends the transaction too
  }
}

function sqlPart(statement: string): string {
  const text = `${statement};`
  return `--@ sql ${text.split('\n').length}\n${text}\n`
}

/** Begins the snapshot, and locks its tables so that none is dropped before it is copied. */
async function beginSnapshot(client: pg.Client, version: string): Promise<{ schema: BackupSchema; header: BackupHeader }> {
  for (let tries = 1; ; tries++) {
    await client.query('begin isolation level repeatable read, read only')
    await client.query("set local search_path = ''")
    const { rows } = await client.query<{ postgres: string; now: string }>(
      `select current_setting('server_version') as postgres, clock_timestamp() as now`,
    )
    const schema = await describeSchema(client)
    const migrations = await migrationsOf(client)
    if (migrations.length === 0)
      throw new KolbakError('nothing_to_back_up', 'The database has no tables of Kolbak, so there is nothing to back up.')
    try {
      await client.query(`lock table ${schema.tables.map(({ name }) => `only ${name}`).join(', ')} in access share mode`)
      const { postgres = '', now = '' } = rows[0] ?? {}
      return {
        schema,
        header: { format: backupFormat, kolbak: version, postgres, made_at: now, migrations, tables: schema.tables.length },
      }
    } catch (error) {
      // These codes mean that a day partition or a build was dropped since the snapshot began.
      if (tries === 5 || !/^(42P01|3F000)$/.test(codeOf(error) ?? '')) throw error
      await client.query('rollback')
    }
  }
}
