import { pick } from '../events/fields.ts'
import type { TenantId } from '../events/ids.ts'
import { type Key, type KeyField, keyFields, type RecordedKeyEvent } from '../events/key.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import { columnDefinitions, columnList, insertion, openRow, type Row, selection, toRow, versionedColumnsOf } from './columns.ts'
import { projectionNames } from './names.ts'
import { byType, type Projection } from './projection.ts'
import { type Counted, type Page, pageOf, type ReadModelDependencies } from './read-model-queries.ts'

const columns = versionedColumnsOf(keyFields)
const tables = `
  create table key_versions (
    ${columnDefinitions(keyFields, columns)}
    revision integer not null,
    until timestamptz, -- the start of the next version or the time of deletion; null for the present version
    primary key (id, revision)
  );
  create index key_versions_of_tenant on key_versions (tenant, updated_at); -- serves listKeysAsOf`

/** Ends the present version, and begins the next version with the changes of an event. */
const next = (sql: Sql, { data, metadata: { time }, revision }: RecordedKeyEvent, changes: Row) => sql`
  with ended as (
    update key_versions set until = ${time} where id = ${data.id} and until is null returning *
  )
  insert into key_versions (${columnList(columns)}, revision)
  select ${selection(columns, { ...changes, updated_at: time })}, ${revision} from ended`

/** The read model of every version of a key, with the time for which the version was valid. Lists of a past moment are read from it. */
export const keyVersions: Projection = {
  name: projectionNames.keyVersions,
  version: 1,
  families: ['key'],
  views: ['key_versions'],
  tables,
  ...byType<RecordedKeyEvent>({
    KeyCreated: (sql, { data, metadata: { time }, revision }) =>
      sql`insert into key_versions ${insertion({
        ...pick(
          toRow(keyFields, data),
          columns.filter((column) => column in data),
        ),
        ...{ created_at: time, updated_at: time, revision },
      })}`,
    KeyChanged: (sql, event) => next(sql, event, toRow(keyFields, event.data)),
    KeyRotated: (sql, event) => next(sql, event, { key: event.data.key }),
    KeyDeleted: (sql, { data, metadata: { time } }) => sql`update key_versions set until = ${time} where id = ${data.id} and until is null`,
  }),
}

/** A key as it was at a time. */
type KeyVersion = Pick<Key, KeyField<'versioned'>> & { readonly revision: number }

/** Returns the keys of the tenant that existed at a time (RFC 3339), as they were then, newest first. */
export async function listKeysAsOf(
  { pool, keyring }: ReadModelDependencies,
  { tenant, asOf, limit, offset }: { tenant: TenantId; asOf: string; limit: number; offset: number },
): Promise<Page<KeyVersion>> {
  const rows = await sqlOn(pool)<Counted<KeyVersion>>`
    with standing as (
      select * from key_versions where tenant = ${tenant} and updated_at <= ${asOf} and (until is null or until > ${asOf})
    )
    select counted.total, ${columnList(columns)}, revision
    from (select count(*) as total from standing) counted
    left join (select * from standing order by created_at desc, id desc limit ${limit} offset ${offset}) page on true
    order by created_at desc, id desc`
  const vault = await keyring.vault(tenant)
  return pageOf<KeyVersion>(rows, (row) => openRow(vault, keyFields, row))
}
