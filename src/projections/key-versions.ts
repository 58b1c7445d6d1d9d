import type { TenantId } from '../events/ids.ts'
import type { RecordedKeyEvent } from '../events/key.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import type { KeyRow } from './api-keys.ts'
import { byType, type Projection } from './projection.ts'
import { type Counted, fieldOpener, type Page, pageOf, type ReadDeps } from './reading.ts'

const tables = `
  create table key_versions (
    id text collate "C" not null,
    revision integer not null,
    tenant text collate "C" not null,
    key text not null, -- sealed, as name and description are
    name text not null,
    description text,
    scopes jsonb not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    until timestamptz, -- when the next version, or the end, began; null for the present one
    primary key (id, revision)
  );
  create index key_versions_of_tenant on key_versions (tenant, updated_at); -- listKeysAsOf`

/** Ends the present version and begins the next with what an event says anew. */
const next = (
  sql: Sql,
  { data, metadata: { time }, revision }: RecordedKeyEvent,
  to: { key?: string; name?: string; description?: string | null; scopes?: readonly string[] },
) => sql`
  with ended as (
    update key_versions set until = ${time} where id = ${data.id} and until is null returning *
  )
  insert into key_versions (id, revision, tenant, key, name, description, scopes, created_at, updated_at)
  select id, ${revision}, tenant, coalesce(${to.key ?? null}, key), coalesce(${to.name ?? null}, name),
    case when ${to.description !== undefined} then ${to.description ?? null} else description end,
    coalesce(${to.scopes === undefined ? null : JSON.stringify(to.scopes)}, scopes), created_at, ${time}
  from ended`

/** Every version that a key ever had, with the time for which it stood: what lists of a moment are read from. */
export const keyVersions: Projection = {
  name: 'key_versions',
  version: 1,
  families: ['key'],
  views: ['key_versions'],
  tables,
  ...byType<RecordedKeyEvent>({
    KeyCreated: (sql, { data, metadata: { time }, revision }) =>
      sql`insert into key_versions (id, revision, tenant, key, name, description, scopes, created_at, updated_at)
          values (${data.id}, ${revision}, ${data.tenant}, ${data.key}, ${data.name}, ${data.description}, ${JSON.stringify(data.scopes)},
            ${time}, ${time})`,
    KeyChanged: (sql, event) => {
      const { id, ...changed } = event.data
      return next(sql, event, changed)
    },
    KeyRotated: (sql, event) => next(sql, event, { key: event.data.key }),
    KeyDeleted: (sql, { data, metadata: { time } }) => sql`update key_versions set until = ${time} where id = ${data.id} and until is null`,
  }),
}

/** A key as it was. */
export type KeyVersion = Omit<KeyRow, 'previous_key' | 'previous_until' | 'last_accessed_at'>

/** The tenant's keys that there were at a moment (RFC 3339), as they were then, newest first. */
export async function listKeysAsOf(
  { pool, keyring }: ReadDeps,
  { tenant, asOf, limit, offset }: { tenant: TenantId; asOf: string; limit: number; offset: number },
): Promise<Page<KeyVersion>> {
  const rows = await sqlOn(pool)<Counted<KeyVersion>>`
    with standing as (
      select * from key_versions where tenant = ${tenant} and updated_at <= ${asOf} and (until is null or until > ${asOf})
    )
    select counted.total, id, tenant, key, name, description, scopes, created_at, updated_at, revision
    from (select count(*) as total from standing) counted
    left join (select * from standing order by created_at desc, id desc limit ${limit} offset ${offset}) page on true
    order by created_at desc, id desc`
  const vault = await keyring.vault(tenant)
  return pageOf<KeyVersion>(rows, (row) => {
    const open = fieldOpener(vault, row.tenant, row.id)
    return {
      ...row,
      key: open.field('key', row.key),
      name: open.field('name', row.name),
      description: open.optional('description', row.description),
    }
  })
}
