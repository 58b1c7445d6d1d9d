import { atMomentQuery, listVersionsQuery } from '../api/schemas/history.ts'
import { rotation } from '../api/schemas/rotation.ts'
import {
  changeTenant,
  createTenant,
  eraseTenant,
  getClientQuery,
  holdTenant,
  issueClient,
  listClientsQuery,
  listTenantsQuery,
} from '../api/schemas/tenant.ts'
import { versionsTable } from './history.ts'
import { type Row, rowsOf, table, textOf } from './text.ts'
import type { Verb } from './verb.ts'

const path = '/v1/tenants/:id'
const clients = `${path}/clients`
const client = `${clients}/:client_id`
const ids = { id: 'tenant', client_id: 'client' }
const tenantsTable = (tenants: readonly Row[]) =>
  table(
    tenants.map(({ id, name, is_suspended, hold, erased_at, created_at }) => [
      textOf(id),
      typeof erased_at === 'string'
        ? 'erased'
        : hold !== null && hold !== undefined
          ? 'on hold'
          : is_suspended === true
            ? 'suspended'
            : 'active',
      textOf(created_at),
      textOf(name),
    ]),
    ['id', 'state', 'created at', 'name'],
  )
const clientsTable = (rows: readonly Row[]) =>
  table(
    rows.map(({ client_id, scopes, created_at, name }) => [textOf(client_id), textOf(created_at), textOf(name), textOf(scopes)]),
    ['client id', 'created at', 'name', 'scopes'],
  )

export const verbs: readonly Verb[] = [
  {
    name: 'tenants list',
    description: 'list tenants, newest first',
    method: 'GET',
    path: '/v1/tenants',
    query: listTenantsQuery,
    rows: 100,
    format: ({ data }) => tenantsTable(rowsOf(data)),
  },
  { name: 'tenants show', description: 'show one tenant', method: 'GET', path, query: atMomentQuery },
  {
    name: 'tenants create',
    description: 'create a tenant: an account whose events, keys and webhooks no other account sees',
    method: 'POST',
    path: '/v1/tenants',
    body: createTenant,
    arguments: ['name'],
  },
  {
    name: 'tenants update',
    description: 'change the limits of a tenant; limits without an option stay as they are',
    method: 'PATCH',
    path,
    body: changeTenant,
  },
  {
    name: 'tenants suspend',
    description: 'suspend a tenant: its clients and keys get 403, and its deliveries wait',
    method: 'POST',
    path: `${path}/suspend`,
  },
  { name: 'tenants resume', description: 'end the suspension of a tenant', method: 'POST', path: `${path}/resume` },
  {
    name: 'tenants history',
    description: 'list every change of a tenant and of its clients, with its time and author (needs the scope read:audit)',
    method: 'GET',
    path: `${path}/history`,
    query: listVersionsQuery,
    rows: 100,
    format: ({ data }) => versionsTable(rowsOf(data)),
  },
  {
    name: 'tenants hold',
    description: 'forbid the erasure of a tenant and of its payloads, for example during a lawsuit',
    method: 'POST',
    path: `${path}/hold`,
    body: holdTenant,
    arguments: ['reason'],
  },
  { name: 'tenants release', description: 'release the legal hold of a tenant', method: 'DELETE', path: `${path}/hold` },
  {
    name: 'tenants erase',
    description: 'erase a suspended tenant for good: its data keys are destroyed. The audit log keeps who did it',
    method: 'DELETE',
    path,
    body: eraseTenant,
  },
  {
    name: 'clients list',
    description: 'list the clients of a tenant, newest first',
    method: 'GET',
    path: clients,
    query: listClientsQuery,
    ids,
    rows: 100,
    format: ({ data }) => clientsTable(rowsOf(data)),
  },
  { name: 'clients show', description: 'show one client', method: 'GET', path: client, query: getClientQuery, ids },
  {
    name: 'clients issue',
    description: 'issue a client: credentials that are exchanged for tokens of the tenant. The secret is shown only now',
    method: 'POST',
    path: clients,
    body: issueClient,
    ids,
    arguments: ['name'],
  },
  {
    name: 'clients rotate-secret',
    description: 'give a client a new secret; both secrets get tokens during the overlap',
    method: 'POST',
    path: `${client}/secret/rotate`,
    body: rotation,
    ids,
    optionNames: { overlap_seconds: 'overlap' },
  },
  {
    name: 'clients revoke',
    description: 'revoke a client; its tokens stop working within a second',
    method: 'DELETE',
    path: client,
    ids,
    format: () => 'revoked',
  },
  {
    name: 'clients history',
    description: 'list every change of a client, with its time and author (needs the scope read:audit)',
    method: 'GET',
    path: `${client}/history`,
    query: listVersionsQuery,
    ids,
    rows: 100,
    format: ({ data }) => versionsTable(rowsOf(data)),
  },
]
