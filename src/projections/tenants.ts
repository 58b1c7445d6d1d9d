import type { Pool } from 'pg'
import type { TenantId } from '../events/ids.ts'
import type { RecordedTenantEvent, TenantLimits } from '../events/tenant.ts'
import { sqlOn } from '../lib/sql.ts'
import { projectionNames } from './names.ts'
import { byType, type Projection } from './projection.ts'
import type { Page } from './read-model-queries.ts'

export interface TenantRow {
  readonly id: TenantId
  readonly name: string
  readonly limits: TenantLimits
  readonly suspended: boolean
  readonly created_at: string
  readonly updated_at: string
  readonly revision: number
}
/** Tenants and their clients: one stream, so one projection (queries of clients: clients.ts). */
export const tenants: Projection = {
  name: projectionNames.tenants,
  version: 1,
  families: ['tenant'],
  views: ['tenants', 'clients'],
  tables: `
    create table tenants (
      id text collate "C" primary key,
      name text not null,
      limits jsonb not null,
      suspended boolean not null,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      revision integer not null
    );
    create table clients (
      id text collate "C" primary key, -- also the look-up at /v1/auth
      tenant text collate "C" not null,
      name text not null,
      scopes jsonb not null,
      secret_hmac text not null,
      previous_hmac text,
      previous_until timestamptz,
      generation integer not null,
      revoked boolean not null,
      created_at timestamptz not null,
      updated_at timestamptz not null
    );
    create index clients_of_tenant on clients (tenant); -- listClients`,
  ...byType<RecordedTenantEvent>({
    TenantRegistered: (sql, { data, metadata: { time }, revision }) =>
      sql`insert into tenants (id, name, limits, suspended, created_at, updated_at, revision)
          values (${data.id}, ${data.name}, '{}', false, ${time}, ${time}, ${revision})`,
    TenantSettingsChanged: (sql, { data, metadata: { time }, revision }) =>
      sql`update tenants set limits = ${JSON.stringify(data.limits)}, updated_at = ${time}, revision = ${revision} where id = ${data.id}`,
    TenantSuspended: (sql, { data, metadata: { time }, revision }) =>
      sql`update tenants set suspended = true, updated_at = ${time}, revision = ${revision} where id = ${data.id}`,
    TenantResumed: (sql, { data, metadata: { time }, revision }) =>
      sql`update tenants set suspended = false, updated_at = ${time}, revision = ${revision} where id = ${data.id}`,
    // Client ids are unique over all tenants: whoever had it first keeps it.
    ClientIssued: async (sql, { data, metadata: { time }, revision }) => {
      await sql`insert into clients (id, tenant, name, scopes, secret_hmac, generation, revoked, created_at, updated_at)
                values (${data.client_id}, ${data.id}, ${data.name}, ${JSON.stringify(data.scopes)}, ${data.secret_hmac}, 1, false, ${time}, ${time})
                on conflict (id) do nothing`
      await sql`update tenants set revision = ${revision} where id = ${data.id}`
    },
    ClientSecretRotated: async (sql, { data, metadata: { time }, revision }) => {
      await sql`update clients set
                  previous_hmac = case when ${data.previous_until}::timestamptz is null then null else secret_hmac end,
                  previous_until = ${data.previous_until}, secret_hmac = ${data.secret_hmac}, generation = ${data.generation}, updated_at = ${time}
                where id = ${data.client_id} and tenant = ${data.id}`
      await sql`update tenants set revision = ${revision} where id = ${data.id}`
    },
    ClientRevoked: async (sql, { data, metadata: { time }, revision }) => {
      await sql`update clients set revoked = true, generation = ${data.generation}, updated_at = ${time}
                where id = ${data.client_id} and tenant = ${data.id}`
      await sql`update tenants set revision = ${revision} where id = ${data.id}`
    },
  }),
}

/** A tenant, or null. */
export async function findTenant(pool: Pool, id: TenantId): Promise<TenantRow | null> {
  const [row] = await sqlOn(pool)<TenantRow>`
    select id, name, limits, suspended, created_at, updated_at, revision from tenants where id = ${id}`
  return row ?? null
}

/** All tenants, newest first. */
export async function listTenants(pool: Pool, { limit, offset }: { limit: number; offset: number }): Promise<Page<TenantRow>> {
  const sql = sqlOn(pool)
  const [count] = await sql<{ total: bigint }>`select count(*) as total from tenants`
  const rows = await sql<TenantRow>`
    select id, name, limits, suspended, created_at, updated_at, revision from tenants
    order by created_at desc, id desc limit ${limit} offset ${offset}`
  return { rows, total: Number(count?.total ?? 0n) }
}
