import type { Pool } from 'pg'
import type { ClientId, TenantId } from '../events/ids.ts'
import type { Scope, TenantLimits } from '../events/tenant.ts'
import { sqlOn } from '../lib/sql.ts'
import type { Page } from './read-model-queries.ts'

/** A client of a tenant, from the projection `tenants`. */
export interface ClientRow {
  readonly id: ClientId
  readonly tenant: TenantId
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly secret_hmac: string
  readonly previous_hmac: string | null
  readonly previous_until: string | null
  /** Tokens of lower generations do not work any more. */
  readonly generation: number
  readonly revoked: boolean
  readonly created_at: string
  readonly updated_at: string
}
/** A client with the state of its tenant. */
export interface ClientOfTenant extends ClientRow {
  readonly tenant_suspended: boolean
  readonly limits: TenantLimits
}

/** Clients with the states of their tenants, revoked ones included (their `revoked` says so), in the order of the ids; or null. */
export async function findClients(pool: Pool, ids: readonly ClientId[]): Promise<(ClientOfTenant | null)[]> {
  const rows = await sqlOn(pool)<ClientOfTenant>`
    select c.id, c.tenant, c.name, c.scopes, c.secret_hmac, c.previous_hmac, c.previous_until,
      c.generation, c.revoked, c.created_at, c.updated_at, t.suspended as tenant_suspended, t.limits
    from clients c join tenants t on t.id = c.tenant where c.id = any(${ids}::text[])`
  const byId = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => byId.get(id) ?? null)
}

/** One of them. */
export const findClient = async (pool: Pool, id: ClientId): Promise<ClientOfTenant | null> => (await findClients(pool, [id]))[0] ?? null

/** A client of the tenant that is not revoked, or null. */
export async function findClientOf(pool: Pool, tenant: TenantId, id: ClientId): Promise<ClientRow | null> {
  const found = await findClient(pool, id)
  return found === null || found.tenant !== tenant || found.revoked ? null : found
}

/** A tenant's clients that are not revoked, newest first. */
export async function listClients(
  pool: Pool,
  { tenant, limit, offset }: { tenant: TenantId; limit: number; offset: number },
): Promise<Page<ClientRow>> {
  const sql = sqlOn(pool)
  const [count] = await sql<{ total: bigint }>`select count(*) as total from clients where tenant = ${tenant} and not revoked`
  const rows = await sql<ClientRow>`
    select id, tenant, name, scopes, secret_hmac, previous_hmac, previous_until,
      generation, revoked, created_at, updated_at
    from clients where tenant = ${tenant} and not revoked
    order by created_at desc, id desc limit ${limit} offset ${offset}`
  return { rows, total: Number(count?.total ?? 0n) }
}
