import type { Pool } from 'pg'
import type { TenantId } from '../events/ids.ts'
import { clientFields, type RecordedTenantEvent, type Tenant, tenantFields } from '../events/tenant.ts'
import type { Keyring } from '../lib/keyring.ts'
import { type Sql, sqlOn, sqlText } from '../lib/sql.ts'
import { assignments, columnDefinitions, columnList, columnsOf, insertion, type Row, toRow } from './columns.ts'
import { projectionNames } from './names.ts'
import { byType, type Projection } from './projection.ts'
import type { Page } from './read-model-queries.ts'
import { resealRows } from './row-macs.ts'

export type TenantRow = Tenant & { readonly revision: number }

/** Writes the changes of an event to the row of its tenant. */
const updateTenant = (sql: Sql, { data, metadata: { time }, revision }: RecordedTenantEvent, changes: Row) =>
  sql`update tenants set ${assignments({ ...changes, updated_at: time, revision })} where id = ${data.id}`
/** Writes the changes of an event to the row of its client. In the row of the tenant, only the revision changes. */
async function updateClient(
  sql: Sql,
  { data, metadata: { time }, revision }: Extract<RecordedTenantEvent, { type: 'ClientSecretRotated' | 'ClientRevoked' }>,
  changes: Row,
) {
  await sql`update clients set ${assignments({ ...changes, updated_at: time })} where client_id = ${data.client_id} and tenant = ${data.id}`
  await sql`update tenants set revision = ${revision} where id = ${data.id}`
}

const handlers = byType<RecordedTenantEvent>({
  TenantRegistered: (sql, { data, metadata: { time }, revision }) =>
    sql`insert into tenants ${insertion({
      ...toRow(tenantFields, { ...data, limits: {}, hold: null }),
      ...{ is_suspended: false, created_at: time, updated_at: time, revision },
    })}`,
  TenantSettingsChanged: (sql, event) => updateTenant(sql, event, toRow(tenantFields, event.data)),
  TenantSuspended: (sql, event) => updateTenant(sql, event, { is_suspended: true }),
  TenantResumed: (sql, event) => updateTenant(sql, event, { is_suspended: false }),
  TenantHeld: (sql, event) => updateTenant(sql, event, toRow(tenantFields, event.data)),
  TenantHoldReleased: (sql, event) => updateTenant(sql, event, { hold: null }),
  TenantErasureAsked: (sql, event) => updateTenant(sql, event, {}),
  TenantErased: (sql, event) => updateTenant(sql, event, { erased_at: event.metadata.time }),
  ClientIssued: async (sql, { data, metadata: { time }, revision }) => {
    const { id: tenant, ...issued } = data
    const initialFields = { generation: 1, revoked: false, created_at: time, updated_at: time }
    // If another tenant has a client with this id already, that tenant keeps the id.
    await sql`insert into clients ${insertion({ ...toRow(clientFields, issued), ...initialFields, tenant })} on conflict (client_id) do nothing`
    await sql`update tenants set revision = ${revision} where id = ${tenant}`
  },
  ClientSecretRotated: (sql, event) => {
    // Postgres computes the previous HMAC from the row as it was before the update.
    const previous_hmac = event.data.previous_secret_until === null ? null : sqlText('secret_hmac')
    return updateClient(sql, event, { ...toRow(clientFields, event.data), previous_hmac })
  },
  ClientRevoked: (sql, event) => updateClient(sql, event, { ...toRow(clientFields, event.data), revoked: true }),
})

/** The read model of tenants and their clients, whose events are in one stream. The queries of clients are in clients.ts. */
export const tenants = (keyring: Pick<Keyring, 'lookup'>): Projection => ({
  name: projectionNames.tenants,
  version: 4,
  families: ['tenant'],
  views: ['tenants', 'clients'],
  tables: `
  create table tenants (
    ${columnDefinitions(tenantFields)}
    revision integer not null,
    mac text, -- of the columns from which rights follow (row-macs.ts)
    primary key (id)
  );
  create table clients (
    ${columnDefinitions(clientFields)}
    tenant text collate "C" not null,
    mac text,
    primary key (client_id) -- serves findClients, also at /v1/auth
  );
  create index clients_of_tenant on clients (tenant); -- serves listClients`,
  ...handlers,
  apply(sql, events) {
    const changes = events.filter(({ type }) => handlers.reads.has(type)) as readonly RecordedTenantEvent[]
    const keys = {
      tenant: changes.map(({ data }) => data.id),
      client: changes.flatMap(({ data }) => ('client_id' in data ? [data.client_id] : [])),
    }
    return resealRows(sql, keyring, keys, () => handlers.apply(sql, events))
  },
})

/** The columns of a TenantRow. */
const rowColumns = columnList([...columnsOf(tenantFields), 'revision'])

/** Returns a tenant, or null. */
export async function findTenant(pool: Pool, id: TenantId): Promise<TenantRow | null> {
  const [row] = await sqlOn(pool)<TenantRow>`
    select ${rowColumns} from tenants where id = ${id}`
  return row ?? null
}

/** Returns the ids of all erased tenants. */
export async function listErasedTenants(pool: Pool): Promise<TenantId[]> {
  const rows = await sqlOn(pool)<{ id: TenantId }>`select id from tenants where erased_at is not null order by id`
  return rows.map(({ id }) => id)
}

interface TenantsQuery {
  readonly limit: number
  readonly offset: number
  /** If set, only tenants that were registered at this time (RFC 3339) or before are returned. */
  readonly registeredBy?: string | null
  /** If set, only this tenant is returned. */
  readonly only?: TenantId | null
}
/** Returns tenants, newest first. */
export async function listTenants(pool: Pool, { limit, offset, registeredBy = null, only = null }: TenantsQuery): Promise<Page<TenantRow>> {
  const sql = sqlOn(pool)
  const [count] = await sql<{ total: bigint }>`
    select count(*) as total from tenants
    where (${registeredBy}::timestamptz is null or created_at <= ${registeredBy}) and (${only}::text is null or id = ${only})`
  const rows = await sql<TenantRow>`
    select ${rowColumns} from tenants
    where (${registeredBy}::timestamptz is null or created_at <= ${registeredBy}) and (${only}::text is null or id = ${only})
    order by created_at desc, id desc limit ${limit} offset ${offset}`
  return { rows, total: Number(count?.total ?? 0n) }
}
