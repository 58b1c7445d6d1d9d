import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gunzipSync, gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { silentLog } from '../../src/lib/log.ts'
import { restoreBackup, writeBackup } from '../../src/service/backups.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

/** SQL that describes a schema independently of the code of backups, from the information schema and the definitions that Postgres returns. */
const catalogue = `
  select 'column ' || concat_ws(' ', table_schema, table_name, column_name, ordinal_position, data_type, udt_name, is_nullable, column_default,
           collation_name, is_identity, identity_generation) as fact
  from information_schema.columns where table_schema !~ '^(pg_|information_schema)'
  union all select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
    where contype <> 'n' and connamespace::regnamespace::text !~ '^(pg_|information_schema)'
  union all select 'index ' || indexdef from pg_indexes where schemaname !~ '^pg_'
  union all select 'function ' || pg_get_functiondef(oid) from pg_proc where pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
  union all select 'view ' || viewname || definition from pg_views where schemaname !~ '^(pg_|information_schema)'
  union all select 'sequence ' || (to_jsonb(pg_sequences) - 'sequenceowner'::text)::text from pg_sequences
  union all select 'table ' || c.oid::regclass || ' ' || concat_ws(' ', c.relkind::text, c.reloptions, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
           (select string_agg(attname || ' ' || attstorage::text, ',' order by attnum) from pg_attribute where attrelid = c.oid and attnum > 0))
    from pg_class c where c.relkind in ('r', 'p') and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
  order by 1`

describe('a backup of Postgres', () => {
  let db: TestDatabase
  let folder: string
  let created: string[]
  beforeEach(async () => {
    db = await freshDatabase()
    folder = await mkdtemp(join(tmpdir(), 'kolbak-backup-'))
    created = []
    await db.pool.query(`
      create table day_events_20260101 (like day_events including all);
      alter table day_events attach partition day_events_20260101 for values from ('2026-01-01') to ('2026-01-02');
      create table messages_20260101 (like messages including all);
      alter table messages attach partition messages_20260101 for values from ('2026-01-01') to ('2026-01-02');
      create sequence messages_offset_0 minvalue 0 start 0 cache 1;
      select nextval('messages_offset_0') from generate_series(1, 41);
      select make_delivery_history('delivery_history', 'delivery_history_2');
      create schema projection_things_7;
      create table projection_things_7.things (id text collate "C" primary key, at timestamptz, is_true boolean default false);
      create index things_by_time on projection_things_7.things (at desc) where is_true;
      create view things as select * from projection_things_7.things;
      insert into messages select 0, n, '2026-01-01', decode(repeat(md5(n::text), 200), 'hex') from generate_series(0, 40) n;
      insert into day_events select n, now(), gen_random_uuid(), n, '2026-01-01', 's', 't', e'a\\\\b\\tc\\nd\\r\\u0001', '\\\\.' from generate_series(1, 5000) n;
      insert into projection_things_7.things values ('', '0013-01-01T00:00:00Z', true), ('\\.', null, null);
      insert into engines (port, identity) values ('event_store', 'postgres-1'), (e'multi\\n\\\\.\\nline', 'ä☃𝄞')`)
    await db.pool.query(
      `insert into data_keys (owner, purpose, wrapped) select 'service', 'key ' || n, '\\x00ff' from generate_series(1, 9) n`,
    )
  })
  afterEach(async () => {
    for (const name of created) await db.pool.query(`drop database ${name} with (force)`)
    await db.drop()
    await rm(folder, { recursive: true })
  })

  const emptyDatabase = async (): Promise<string> => {
    const name = `restored_${process.pid}_${Date.now()}_${created.length}`
    await db.pool.query(`create database ${name} template template0`)
    created.push(name)
    return Object.assign(new URL(db.url), { pathname: `/${name}` }).href
  }
  const configOf = (url: string) => ({ DATABASE_URL: url, KOLBAK_DATA_DIR: folder })
  const backUp = async (): Promise<Buffer> => {
    const file = join(folder, `backup-${Date.now()}`)
    await writeBackup(configOf(db.url), silentLog, createWriteStream(file), () => {})
    return readFile(file)
  }
  const restore = (url: string, bytes: Buffer) => restoreBackup(configOf(url), silentLog, Readable.from([bytes]), () => {})
  const onDatabase = async <T extends object>(url: string, ...statements: string[]): Promise<T[]> => {
    const pool = createPool({ url, name: 'test', max: 1, log: silentLog })
    try {
      let rows: T[] = []
      for (const statement of statements) rows = (await pool.query<T>(statement)).rows
      return rows
    } finally {
      await pool.end()
    }
  }
  const tableNames = `select c.oid::regclass::text as name from pg_class c where relkind in ('r', 'S', 'v') and relnamespace::regnamespace::text !~ '^(pg_|information_schema)' order by 1`
  /** Returns a checksum of the rows of every table, except the table that records backups: the row of a backup is written after the backup. */
  const contentOf = async (url: string) => {
    const content: Record<string, unknown> = {}
    for (const { name } of await onDatabase<{ name: string }>(url, tableNames.replace(", 'S'", '')))
      if (name !== 'backups')
        content[name] = await onDatabase(
          url,
          `select count(*)::int as rows, md5(string_agg(line, e'\\n' order by line)) as sum from (select t::text as line from ${name} t) lines`,
        )
    return content
  }
  const refusal = (work: Promise<unknown>) =>
    work.then(
      () => null,
      (error: Error) => error,
    )

  it('restores every table, partition, index, view, function, sequence and row', async () => {
    const url = await emptyDatabase()
    const { rows } = await restore(url, await backUp())
    expect(rows).to.be.greaterThan(5_050)
    expect(await onDatabase(url, catalogue)).to.deep.equal((await db.pool.query(catalogue)).rows)
    expect(await contentOf(url)).to.deep.equal(await contentOf(db.url))
    const [next] = await onDatabase(url, `insert into data_keys (owner, purpose) values ('service', 'next') returning id`)
    expect(next).to.deep.equal({ id: 10 })
  })
  it('restores a database that was restored before', async () => {
    const [first, second] = [await emptyDatabase(), await emptyDatabase()]
    await restore(first, await backUp())
    const file = join(folder, 'again')
    await writeBackup(configOf(first), silentLog, createWriteStream(file), () => {})
    await restore(second, await readFile(file))
    expect(await contentOf(second)).to.deep.equal(await contentOf(db.url))
  })
  it('shows one moment, even while rows are inserted, updated and deleted', async () => {
    await db.pool.query('create table pairs (id int, twin int); insert into pairs select n, n from generate_series(1, 2000) n')
    await db.pool.query('create table others (like pairs); insert into others select * from pairs')
    let isRunning = true
    const writing = (async () => {
      for (let n = 0; isRunning; n++)
        await db.pool.query(
          `do $$ begin update pairs set twin = ${n} where id % 7 = 0; update others set twin = ${n} where id % 7 = 0; end $$`,
        )
    })()
    try {
      for (let i = 0; i < 3; i++) {
        const url = await emptyDatabase()
        await restore(url, await backUp())
        const [row] = await onDatabase(
          url,
          'select count(*)::int as torn from pairs join others using (id) where pairs.twin <> others.twin',
        )
        expect(row).to.deep.equal({ torn: 0 })
      }
    } finally {
      isRunning = false
      await writing
    }
  })
  it('leaves out objects that are not from Kolbak, and names them', async () => {
    await db.pool.query(`create type mood as enum ('good'); create table moods (mood mood); create materialized view sums as select 1 as one;
                         create view keys_made as select count(*) from data_keys; create function mood() returns mood language sql as $$ select 'good'::mood $$`)
    const file = join(folder, 'own')
    const { skipped } = await writeBackup(configOf(db.url), silentLog, createWriteStream(file), () => {})
    expect([...skipped].sort()).to.deep.equal([
      'function public.mood()',
      'table public.moods',
      'table public.sums',
      'type public.mood',
      'view public.keys_made',
    ])
    await restore(await emptyDatabase(), await readFile(file))
  })

  it('that was cut anywhere is refused, and nothing of it is restored', async () => {
    const url = await emptyDatabase()
    const bytes = await backUp()
    const text = gunzipSync(bytes)
    for (const cut of [0, 1, 10, bytes.length >> 2, bytes.length >> 1, bytes.length - 8, bytes.length - 1]) {
      const error = await refusal(restore(url, bytes.subarray(0, cut)))
      expect(codeOf(error), `cut to ${cut} of ${bytes.length} bytes`).to.equal('backup_damaged')
      expect(error?.message).to.match(/damaged or incomplete .*nothing of it was restored/)
    }
    // The cut text is compressed again, so that gzip itself reports no error.
    for (const cut of [300, text.length >> 2, text.length >> 1, text.length - 120, text.length - 1]) {
      const error = await refusal(restore(url, gzipSync(text.subarray(0, cut))))
      expect(codeOf(error), `cut to ${cut} of ${text.length} bytes of text`).to.equal('backup_damaged')
    }
    expect(await onDatabase(url, tableNames)).to.deep.equal([])
    await restore(url, bytes)
  })
  it('that was altered anywhere is refused, and nothing of it is restored', async () => {
    const url = await emptyDatabase()
    const bytes = await backUp()
    for (let i = 1; i <= 8; i++) {
      const altered = Buffer.from(bytes)
      altered[Math.floor((altered.length * i) / 9)]! ^= 0x20
      expect(codeOf(await refusal(restore(url, altered))), `byte ${i} of 9`).to.equal('backup_damaged')
    }
    const text = gunzipSync(bytes).toString('latin1')
    for (const [from, to] of [
      ['postgres-1', 'postgres-2'],
      ["messages_offset_0'::regclass, 40", "messages_offset_0'::regclass, 39"],
      ['\\.\n--@ counted 41\n', '\\.\n--@ counted 40\n'],
      ['create view', 'creat view'],
      ['"rows":', '"rows":1'],
      ['things_by_time', 'things_by_tim'],
    ] as const) {
      expect(text).to.include(from)
      const altered = gzipSync(Buffer.from(text.replace(from, to), 'latin1'))
      expect(codeOf(await refusal(restore(url, altered))), `${to} for ${from}`).to.equal('backup_damaged')
    }
    const longer = gzipSync(Buffer.concat([gunzipSync(bytes), Buffer.from('--@ end {}\n')]))
    expect(codeOf(await refusal(restore(url, longer)))).to.equal('backup_damaged')
    expect(await onDatabase(url, tableNames)).to.deep.equal([])
  })
  it('is refused by a database that is not empty', async () => {
    const url = await emptyDatabase()
    const bytes = await backUp()
    await onDatabase(url, 'create schema mine; create table mine.own (id int)')
    const error = await refusal(restore(url, bytes))
    expect(codeOf(error)).to.equal('database_not_empty')
    expect(error?.message).to.include('mine.own')
    expect(codeOf(await refusal(restore(db.url, bytes)))).to.equal('database_not_empty')
    expect(await contentOf(url)).to.deep.equal({ 'mine.own': [{ rows: 0, sum: null }] })
  })
  it('is refused when a newer version has made it or the file is not a backup', async () => {
    const url = await emptyDatabase()
    const text = gunzipSync(await backUp()).toString('latin1')
    const withHeader = (from: string, to: string) => gzipSync(Buffer.from(text.replace(from, to), 'latin1'))
    expect(codeOf(await refusal(restore(url, withHeader('"format":1', '"format":2'))))).to.equal('backup_of_newer_version')
    expect(codeOf(await refusal(restore(url, withHeader('"0007_api"', '"9001_of_the_future"'))))).to.equal('database_of_newer_version')
    for (const other of [Buffer.from('PGDMP'), gzipSync(Buffer.from('-- PostgreSQL database dump\n')), Buffer.from('select 1;\n')])
      expect(codeOf(await refusal(restore(url, other)))).to.equal('not_a_backup')
    await writeFile(join(folder, 'empty'), '')
    expect(codeOf(await refusal(restore(url, await readFile(join(folder, 'empty')))))).to.equal('backup_damaged')
    expect(codeOf(await refusal(writeBackup(configOf(url), silentLog, createWriteStream(join(folder, 'none')), () => {})))).to.equal(
      'nothing_to_back_up',
    )
  })
})
