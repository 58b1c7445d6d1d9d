import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId } from '../events/ids.ts'
import { type Key, type KeyScope, keyFields, type RecordedKeyEvent } from '../events/key.ts'
import { fieldAad } from '../events/sealed-fields.ts'
import type { TenantLimits } from '../events/tenant.ts'
import type { Keyring } from '../lib/keyring.ts'
import { type Sql, sqlOn, sqlText } from '../lib/sql.ts'
import { assignments, columnDefinitions, columnsOf, insertion, openRow, type Row, toRow } from './columns.ts'
import { projectionNames } from './names.ts'
import { byType, type Projection } from './projection.ts'
import type { Page, ReadModelDependencies } from './read-model-queries.ts'
import { isGenuineRow, type RowChecks, resealRows, sealedRows } from './row-macs.ts'

type KeyRow = Omit<Key, 'deleted'> & { readonly revision: number }
/** A key with the state of its tenant, for authentication. */
export interface KeyCredential {
  readonly id: KeyId
  readonly tenant: TenantId
  readonly scopes: readonly KeyScope[]
  readonly tenant_suspended: boolean
  readonly limits: TenantLimits
}

const tables = `
  create table api_keys (
    ${columnDefinitions(keyFields)}
    lookup_hmac text, -- is null after the tenant's data key was destroyed
    previous_hmac text,
    revision integer not null,
    deleted_at timestamptz,
    mac text, -- of the columns from which rights follow (row-macs.ts)
    primary key (id)
  );
  create unique index api_keys_by_value on api_keys (lookup_hmac) where deleted_at is null; -- serves findKeyByValue
  create index api_keys_by_previous_value on api_keys (previous_hmac) where deleted_at is null and previous_hmac is not null; -- serves findKeyByValue
  create index api_keys_of_tenant on api_keys (tenant, created_at desc, id desc) where deleted_at is null; -- serves listKeys`

/** Writes the changes of an event to the row of its key. */
const update = (sql: Sql, { data, metadata: { time }, revision }: RecordedKeyEvent, changes: Row) =>
  sql`update api_keys set ${assignments({ ...changes, updated_at: time, revision })} where id = ${data.id}`

/**
 * Makes the read model of API keys. A key is found by an HMAC of its value. Events contain no HMAC, so the projection opens each value to
 * compute the HMAC.
 */
export function apiKeys(keyring: Keyring): Projection {
  const lookupOf = async (event: RecordedEvent, id: string, sealed: string): Promise<string | null> => {
    const { tenant } = event.metadata
    const vault = await keyring.vault(tenant)
    // A key of an erased tenant must never be found again.
    return vault.isErased ? null : keyring.lookup('api-key', vault.openText(fieldAad(tenant, id, 'key'), sealed))
  }
  const handlers = byType<RecordedKeyEvent>({
    KeyCreated: async (sql, event) => {
      const { data, revision } = event
      const { time } = event.metadata
      const lookup_hmac = await lookupOf(event, data.id, data.key)
      await sql`insert into api_keys ${insertion({ ...toRow(keyFields, data), lookup_hmac, created_at: time, updated_at: time, revision })}`
    },
    KeyChanged: (sql, event) => update(sql, event, toRow(keyFields, event.data)),
    KeyRotated: async (sql, event) => {
      const { id, key, previous_key_until } = event.data
      // Postgres computes the right-hand sides from the row as it was before the update.
      const previousValues = { previous_key: sqlText('key'), previous_hmac: sqlText('lookup_hmac') }
      const previous = previous_key_until === null ? { previous_key: null, previous_hmac: null } : previousValues
      await update(sql, event, { ...previous, previous_key_until, key, lookup_hmac: await lookupOf(event, id, key) })
    },
    KeyDeleted: (sql, event) => update(sql, event, { deleted_at: event.metadata.time }),
  })
  return {
    name: projectionNames.keys,
    version: 3,
    families: ['key'],
    views: ['api_keys'],
    tables,
    ...handlers,
    apply(sql, events) {
      const changes = events.filter(({ type }) => handlers.reads.has(type)) as readonly RecordedKeyEvent[]
      const keys = changes.map(({ data }) => data.id)
      return resealRows(sql, keyring, { key: keys }, () => handlers.apply(sql, events))
    },
  }
}

const openKey = async (keyring: Keyring, row: KeyRow): Promise<KeyRow> => openRow(await keyring.vault(row.tenant), keyFields, row)

/** The columns of a KeyRow. */
const rowColumns = sqlText(`${columnsOf(keyFields).join(', ')}, last_accessed_at, revision`)

/** Returns a key of the tenant that is not deleted, or null. */
export async function findKey({ pool, keyring }: ReadModelDependencies, tenant: TenantId, id: KeyId): Promise<KeyRow | null> {
  const [row] = await sqlOn(pool)<KeyRow>`
    select ${rowColumns}
    from api_keys k left join key_usage u on u.key_id = k.id
    where k.tenant = ${tenant} and k.id = ${id} and k.deleted_at is null`
  return row === undefined ? null : openKey(keyring, row)
}

/** Returns the keys of the tenant that are not deleted, newest first. */
export async function listKeys(
  { pool, keyring }: ReadModelDependencies,
  { tenant, limit, offset }: { tenant: TenantId; limit: number; offset: number },
): Promise<Page<KeyRow>> {
  const sql = sqlOn(pool)
  const [count] = await sql<{ total: bigint }>`select count(*) as total from api_keys where tenant = ${tenant} and deleted_at is null`
  const rows = await sql<KeyRow>`
    select ${rowColumns}
    from api_keys k left join key_usage u on u.key_id = k.id
    where k.tenant = ${tenant} and k.deleted_at is null
    order by k.created_at desc, k.id desc limit ${limit} offset ${offset}`
  return { rows: await Promise.all(rows.map((row) => openKey(keyring, row))), total: Number(count?.total ?? 0n) }
}

/**
 * Returns the key with this value for `x-api-key`, or null. A previous value is found until the end of its overlap. A key is not found if another program
 * has altered its row or the row of its tenant. @param now RFC 3339
 */
export async function findKeyByValue(deps: RowChecks & { readonly pool: Pool }, value: string, now: string): Promise<KeyCredential | null> {
  const { pool, keyring } = deps
  const hmac = keyring.lookup('api-key', value)
  const [row] = await sqlOn(pool)<KeyCredential & { mac: string | null; tenant_mac: string | null }>`
    select ${sqlText(sealedRows.key.columns.map((column) => `k.${column}`).join(', '))}, k.mac,
      t.is_suspended as tenant_suspended, t.limits, t.mac as tenant_mac
    from api_keys k join tenants t on t.id = k.tenant
    where k.deleted_at is null and (k.lookup_hmac = ${hmac} or (k.previous_hmac = ${hmac} and k.previous_key_until > ${now}))`
  if (row === undefined) return null
  const { id, tenant, scopes, tenant_suspended, limits, tenant_mac } = row
  const ofTenant = { id: tenant, is_suspended: tenant_suspended, limits, mac: tenant_mac }
  return isGenuineRow(deps, 'key', { ...row }) && isGenuineRow(deps, 'tenant', ofTenant)
    ? { id, tenant, scopes, tenant_suspended, limits }
    : null
}
