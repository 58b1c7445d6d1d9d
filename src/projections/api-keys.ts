import type { Pool } from 'pg'
import type { RecordedEvent } from '../events/envelope.ts'
import type { KeyId, TenantId } from '../events/ids.ts'
import type { KeyScope, RecordedKeyEvent } from '../events/key.ts'
import type { TenantLimits } from '../events/tenant.ts'
import { KeyDestroyed, type Keyring } from '../lib/keyring.ts'
import { sqlOn } from '../lib/sql.ts'
import { byType, type Projection } from './projection.ts'
import { fieldOpener, type Page, type ReadDeps } from './reading.ts'

export interface KeyRow {
  readonly id: KeyId
  readonly tenant: TenantId
  readonly key: string
  readonly previous_key: string | null
  readonly previous_until: string | null
  readonly name: string
  readonly description: string | null
  readonly scopes: readonly KeyScope[]
  readonly created_at: string
  readonly updated_at: string
  /** From `key_usage`: null until its first use. */
  readonly last_accessed_at: string | null
  readonly revision: number
}
/** For whom a key speaks. */
export interface KeyCredential {
  readonly id: KeyId
  readonly tenant: TenantId
  readonly scopes: readonly KeyScope[]
  readonly tenant_suspended: boolean
  readonly limits: TenantLimits
}

const tables = `
  create table api_keys (
    id text collate "C" primary key,
    tenant text collate "C" not null,
    key text not null, -- sealed, as name, description and previous_key are
    previous_key text,
    previous_until timestamptz,
    name text not null,
    description text,
    scopes jsonb not null,
    lookup_hmac text, -- null when the tenant's data key has been destroyed
    previous_hmac text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision integer not null,
    deleted_at timestamptz
  );
  create unique index api_keys_by_value on api_keys (lookup_hmac) where deleted_at is null; -- findKeyByValue
  create index api_keys_by_previous_value on api_keys (previous_hmac) where deleted_at is null and previous_hmac is not null; -- findKeyByValue
  create index api_keys_of_tenant on api_keys (tenant, created_at desc, id desc) where deleted_at is null; -- listKeys`

/** API keys. A key's value is looked up by an HMAC that exists only here, so applying a value opens it. */
export function apiKeys(keyring: Keyring): Projection {
  const lookupOf = async (event: RecordedEvent, id: string, sealed: string): Promise<string | null> => {
    const { tenant } = event.metadata
    try {
      return keyring.lookup('api-key', fieldOpener(await keyring.vault(tenant), tenant, id).field('key', sealed))
    } catch (error) {
      if (error instanceof KeyDestroyed) return null // an erased tenant's keys can be found by nobody any more
      throw error
    }
  }
  return {
    name: 'api_keys',
    version: 1,
    families: ['key'],
    views: ['api_keys'],
    tables,
    ...byType<RecordedKeyEvent>({
      KeyCreated: async (sql, event) => {
        const { data, revision } = event
        const { time } = event.metadata
        await sql`insert into api_keys (id, tenant, key, name, description, scopes, lookup_hmac, created_at, updated_at, revision)
                  values (${data.id}, ${data.tenant}, ${data.key}, ${data.name}, ${data.description}, ${JSON.stringify(data.scopes)},
                    ${await lookupOf(event, data.id, data.key)}, ${time}, ${time}, ${revision})`
      },
      KeyChanged: (sql, { data, metadata: { time }, revision }) =>
        sql`update api_keys set
              name = coalesce(${data.name ?? null}, name),
              description = case when ${data.description !== undefined} then ${data.description ?? null} else description end,
              scopes = coalesce(${data.scopes === undefined ? null : JSON.stringify(data.scopes)}, scopes),
              updated_at = ${time}, revision = ${revision}
            where id = ${data.id}`,
      KeyRotated: async (sql, event) => {
        const { data, revision } = event
        const kept = data.previous_until !== null
        await sql`update api_keys set
                    previous_key = case when ${kept} then key end, previous_hmac = case when ${kept} then lookup_hmac end,
                    previous_until = ${data.previous_until}, key = ${data.key}, lookup_hmac = ${await lookupOf(event, data.id, data.key)},
                    updated_at = ${event.metadata.time}, revision = ${revision}
                  where id = ${data.id}`
      },
      KeyDeleted: (sql, { data, metadata: { time }, revision }) =>
        sql`update api_keys set deleted_at = ${time}, updated_at = ${time}, revision = ${revision} where id = ${data.id}`,
    }),
  }
}

async function openKey(keyring: Keyring, row: KeyRow): Promise<KeyRow> {
  const open = fieldOpener(await keyring.vault(row.tenant), row.tenant, row.id)
  return {
    ...row,
    key: open.field('key', row.key),
    previous_key: open.optional('key', row.previous_key),
    name: open.field('name', row.name),
    description: open.optional('description', row.description),
  }
}

/** A key of the tenant that is not deleted, or null. */
export async function findKey({ pool, keyring }: ReadDeps, tenant: TenantId, id: KeyId): Promise<KeyRow | null> {
  const [row] = await sqlOn(pool)<KeyRow>`
    select k.id, k.tenant, k.key, k.previous_key, k.previous_until, k.name, k.description, k.scopes,
      k.created_at, k.updated_at, u.last_accessed_at, k.revision
    from api_keys k left join key_usage u on u.key_id = k.id
    where k.tenant = ${tenant} and k.id = ${id} and k.deleted_at is null`
  return row === undefined ? null : openKey(keyring, row)
}

/** The tenant's keys, newest first. */
export async function listKeys(
  { pool, keyring }: ReadDeps,
  { tenant, limit, offset }: { tenant: TenantId; limit: number; offset: number },
): Promise<Page<KeyRow>> {
  const sql = sqlOn(pool)
  const [count] = await sql<{ total: bigint }>`select count(*) as total from api_keys where tenant = ${tenant} and deleted_at is null`
  const rows = await sql<KeyRow>`
    select k.id, k.tenant, k.key, k.previous_key, k.previous_until, k.name, k.description, k.scopes,
      k.created_at, k.updated_at, u.last_accessed_at, k.revision
    from api_keys k left join key_usage u on u.key_id = k.id
    where k.tenant = ${tenant} and k.deleted_at is null
    order by k.created_at desc, k.id desc limit ${limit} offset ${offset}`
  return { rows: await Promise.all(rows.map((row) => openKey(keyring, row))), total: Number(count?.total ?? 0n) }
}

/** Whose an `x-api-key` is, or null. A rotated value is found until its time is up. @param now RFC 3339 */
export async function findKeyByValue(
  { pool, keyring }: { pool: Pool; keyring: Pick<Keyring, 'lookup'> },
  value: string,
  now: string,
): Promise<KeyCredential | null> {
  const hmac = keyring.lookup('api-key', value)
  const [row] = await sqlOn(pool)<KeyCredential>`
    select k.id, k.tenant, k.scopes, t.suspended as tenant_suspended, t.limits
    from api_keys k join tenants t on t.id = k.tenant
    where k.deleted_at is null and (k.lookup_hmac = ${hmac} or (k.previous_hmac = ${hmac} and k.previous_until > ${now}))`
  return row ?? null
}
