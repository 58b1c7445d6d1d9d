import type { Pool } from 'pg'
import type { ClientId, TenantId } from '../events/ids.ts'
import { type Client, clientFields, type TenantLimits } from '../events/tenant.ts'
import { sqlOn } from '../lib/sql.ts'
import { columnList, columnsOf } from './columns.ts'
import type { Page } from './read-model-queries.ts'
import { isGenuineRow, type RowChecks } from './row-macs.ts'

/** A client of a tenant, from the projection `tenants`. */
export type ClientRow = Client & { readonly tenant: TenantId }
/** A client with the state of its tenant. */
export interface ClientOfTenant extends ClientRow {
  readonly tenant_suspended: boolean
  readonly limits: TenantLimits
}

type StoredClient = ClientOfTenant & { readonly mac: string | null; readonly tenant_mac: string | null }
const queryClients = (pool: Pool, ids: readonly ClientId[]): Promise<StoredClient[]> => sqlOn(pool)<StoredClient>`
  select ${columnList([...columnsOf(clientFields), 'tenant', 'mac'].map((column) => `c.${column}`))},
    t.is_suspended as tenant_suspended, t.limits, t.mac as tenant_mac
  from clients c join tenants t on t.id = c.tenant where c.client_id = any(${ids}::text[])`

/** Returns the clients in the order of the ids, without their MACs, and null for an id without a client. */
function inOrder(ids: readonly ClientId[], rows: readonly StoredClient[]): (ClientOfTenant | null)[] {
  const byId = new Map(rows.map(({ mac: _, tenant_mac: __, ...client }) => [client.client_id, client]))
  return ids.map((id) => byId.get(id) ?? null)
}

/** Returns the clients with these ids, in the order of the ids, and null for an unknown id. Revoked clients are included. */
export const findClients = async (pool: Pool, ids: readonly ClientId[]): Promise<(ClientOfTenant | null)[]> =>
  inOrder(ids, await queryClients(pool, ids))

/** Returns these clients for authentication, and null for a client if another program has altered its row or the row of its tenant. */
export async function findGenuineClients(
  deps: RowChecks & { readonly pool: Pool },
  ids: readonly ClientId[],
): Promise<(ClientOfTenant | null)[]> {
  const isGenuine = (row: StoredClient) => {
    const { tenant, tenant_suspended, limits, tenant_mac } = row
    const ofTenant = { id: tenant, is_suspended: tenant_suspended, limits, mac: tenant_mac }
    return isGenuineRow(deps, 'client', { ...row }) && isGenuineRow(deps, 'tenant', ofTenant)
  }
  return inOrder(ids, (await queryClients(deps.pool, ids)).filter(isGenuine))
}
/** Returns one client for authentication, which may be revoked, or null. */
export const findGenuineClient = async (deps: RowChecks & { readonly pool: Pool }, id: ClientId): Promise<ClientOfTenant | null> =>
  (await findGenuineClients(deps, [id]))[0] ?? null

/** Returns one client, which may be revoked, or null. */
export const findClient = async (pool: Pool, id: ClientId): Promise<ClientOfTenant | null> => (await findClients(pool, [id]))[0] ?? null

/** Returns a client of the tenant that is not revoked, or null. */
export async function findClientOf(pool: Pool, tenant: TenantId, id: ClientId): Promise<ClientRow | null> {
  const client = await findClient(pool, id)
  return client === null || client.tenant !== tenant || client.revoked ? null : client
}

/** Returns the clients of the tenant that are not revoked, newest first. */
export async function listClients(
  pool: Pool,
  { tenant, limit, offset }: { tenant: TenantId; limit: number; offset: number },
): Promise<Page<ClientRow>> {
  const sql = sqlOn(pool)
  const [count] = await sql<{ total: bigint }>`select count(*) as total from clients where tenant = ${tenant} and not revoked`
  const rows = await sql<ClientRow>`
    select ${columnList(columnsOf(clientFields))}, tenant
    from clients where tenant = ${tenant} and not revoked
    order by created_at desc, client_id desc limit ${limit} offset ${offset}`
  return { rows, total: Number(count?.total ?? 0n) }
}
