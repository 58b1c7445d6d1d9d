import { randomBytes } from 'node:crypto'
import { type TenantState, tenantDecider } from '../../commands/tenant.ts'
import { fieldsThatAre, pick } from '../../events/fields.ts'
import type { ClientId } from '../../events/ids.ts'
import { tenantStream } from '../../events/streams.ts'
import { type Client, clientFields } from '../../events/tenant.ts'
import { byText } from '../../ports/delivery-log.ts'
import { findClientOf, listClients } from '../../projections/clients.ts'
import { projectionNames } from '../../projections/names.ts'
import { findTenant } from '../../projections/tenants.ts'
import { namesMoment, stateAt } from '../as-of.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { withoutEtag } from '../etag.ts'
import { createExecuteCommand, newCommandId } from '../execute-command.ts'
import { parseClientId, parseTenantId } from '../ids.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent, noStore } from '../route-results.ts'
import { defaultLimit, envelope, envelopeExample, idOf, listOf, offsetPagination } from '../schemas/common.ts'
import { asOfIndexHeader, lagHeaders } from '../schemas/headers.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { overlapEnd, rotation } from '../schemas/rotation.ts'
import { client, clientId, clientWithSecret, getClientQuery, issueClient, listClientsQuery } from '../schemas/tenant.ts'
import { onBehalfOf, requireVisible, storable } from './tenants.ts'

const tag = 'Tenants'
const credentials = 'bearer'
const scope = 'admin'
const readModel = projectionNames.tenants

/** The routes of clients. Their responses have no ETag: changes of clients are events of the tenant, so it would be the revision of the tenant. */
export const createClientRoutes = (deps: ApiDependencies & { newUlid(): string }): Route[] => [
  ...createReadRoutes(deps),
  issueClientRoute(deps),
  rotateClientSecretRoute(deps),
  revokeClientRoute(deps),
]

const createReadRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    method: 'GET',
    path: '/v1/tenants/:id/clients',
    operationId: 'listClients',
    summary: 'List the clients of a tenant that are not revoked, newest first',
    description:
      'Returns the clients that can get tokens for a tenant, now or at a past moment. No response contains their secrets. With `read:audit` alone, a client can read only the past of its own tenant.',
    params: { id: idOf('tenant') },
    tag,
    credentials,
    scope,
    query: listClientsQuery,
    errors: ['event_not_readable'],
    responses: {
      200: { description: 'A page of clients.', schema: envelope(listOf(client), offsetPagination), headers: asOfIndexHeader },
    },
    async handler({ params, query, caller }) {
      const { limit = defaultLimit, offset = 0 } = query
      const tenant = parseTenantId(params.id)
      requireVisible(caller, tenant)
      if (namesMoment(query)) {
        const { state, headers } = await stateAt(deps, tenantDecider, tenantStream(tenant), tenant, query)
        const clients = [...state.clients.values()].filter(({ revoked }) => !revoked).sort(newestFirst)
        const views = clients.slice(offset, offset + limit).map(pastClientView)
        return envelopeResult(200, views, headers, { limit, offset, total: clients.length })
      }
      if ((await findTenant(deps.pool, tenant)) === null) throw notFound()
      const { rows, total } = await listClients(deps.pool, { tenant, limit, offset })
      const views = rows.map((row) => clientView(row, deps.now()))
      return envelopeResult(200, views, {}, { limit, offset, total })
    },
  }),
  guardedRoute({
    method: 'GET',
    path: '/v1/tenants/:id/clients/:client_id',
    operationId: 'getClient',
    summary: 'Read a client',
    description:
      'Returns the name and the scopes of a client, as they are now or as they were at a past moment. A client that is revoked at that moment is not found.',
    params: { id: idOf('tenant'), client_id: { ...clientId, description: 'The id of the client.' } },
    tag,
    credentials,
    scope,
    query: getClientQuery,
    errors: ['event_not_readable'],
    responses: { 200: { description: 'The client, without its secret.', schema: envelope(client), headers: asOfIndexHeader } },
    async handler({ params, query, caller }) {
      const [tenant, id] = [parseTenantId(params.id), parseClientId(params.client_id)]
      requireVisible(caller, tenant)
      if (namesMoment(query)) {
        const { state, headers } = await stateAt(deps, tenantDecider, tenantStream(tenant), tenant, query)
        const past = state.clients.get(id)
        if (past === undefined || past.revoked) throw notFound()
        return envelopeResult(200, pastClientView(past), headers)
      }
      const row = await findClientOf(deps.pool, tenant, id)
      if (row === null) throw notFound()
      return envelopeResult(200, clientView(row, deps.now()))
    },
  }),
]

function issueClientRoute(deps: ApiDependencies & { newUlid(): string }): Route {
  const { keyring, now, newUlid } = deps
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/tenants/:id/clients',
    operationId: 'issueClient',
    idempotent: true,
    summary: 'Issue a client: credentials that are exchanged for tokens of the tenant',
    description:
      'Creates a client with an id and a secret, with which a program gets tokens from `/v1/auth`. The secret is shown once, because only its hash is kept.',
    params: { id: idOf('tenant') },
    tag,
    credentials,
    scope,
    body: issueClient,
    example: { name: 'Billing', scopes: ['write:events', 'read:events'] },
    errors: ['conflict'],
    responses: { 201: { description: 'The client. Only this response contains the secret.', schema: envelope(clientWithSecret) } },
    async handler(request) {
      const { body, params } = request
      const tenant = parseTenantId(params.id)
      const { id, secret, commandId } = await request.plan(() => ({
        id: parseClientId(`client_${newUlid()}`),
        secret: newClientSecret(),
        commandId: newCommandId(),
      }))
      const { state, headers } = await executeCommand(
        tenantDecider,
        tenantStream(tenant),
        {
          type: 'IssueClient',
          client_id: id,
          name: storable(body.name),
          scopes: body.scopes,
          secret_hmac: keyring.lookup('client-secret', secret),
        },
        onBehalfOf(request, tenant),
        { readModel, commandId },
      )
      const view = { ...clientView(clientIn(state, id), now()), client_secret: secret }
      return envelopeResult(201, view, { ...withoutEtag(headers), ...noStore, location: `/v1/tenants/${tenant}/clients/${id}` })
    },
  })
}

function rotateClientSecretRoute(deps: ApiDependencies): Route {
  const { keyring, now } = deps
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/tenants/:id/clients/:client_id/secret/rotate',
    operationId: 'rotateClientSecret',
    idempotent: true,
    summary: 'Give a client a new secret. Its present tokens stop working, and both secrets get new tokens during the overlap',
    description:
      'Replaces the secret of a client. Tokens that the client already has stop working within a second. The former secret still gets tokens until the overlap ends, so that programs can change over one by one.',
    params: { id: idOf('tenant'), client_id: { ...clientId, description: 'The id of the client.' } },
    tag,
    credentials,
    scope,
    body: rotation,
    example: { overlap_seconds: 86_400 },
    bodyOptional: true,
    errors: ['conflict'],
    responses: {
      200: {
        description: 'The client. Only this response contains the new secret.',
        schema: envelope(clientWithSecret),
        example: envelopeExample(exampleOf(clientWithSecret, { previous_secret_until: '2026-04-01T00:45:00.000Z' })),
      },
    },
    async handler(request) {
      const { body, params } = request
      const tenant = parseTenantId(params.id)
      const id = parseClientId(params.client_id)
      const { secret, commandId } = await request.plan(() => ({ secret: newClientSecret(), commandId: newCommandId() }))
      const { state, headers } = await executeCommand(
        tenantDecider,
        tenantStream(tenant),
        {
          type: 'RotateClientSecret',
          client_id: id,
          secret_hmac: keyring.lookup('client-secret', secret),
          previous_secret_until: overlapEnd(body, now()),
        },
        onBehalfOf(request, tenant),
        { readModel, commandId },
      )
      const view = { ...clientView(clientIn(state, id), now()), client_secret: secret }
      return envelopeResult(200, view, { ...withoutEtag(headers), ...noStore })
    },
  })
}

function revokeClientRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'DELETE',
    path: '/v1/tenants/:id/clients/:client_id',
    operationId: 'revokeClient',
    summary: 'Revoke a client; its tokens stop working within a second',
    description:
      'Ends a client for good: it gets no more tokens, and its tokens stop working within a second. The last client with the scope `admin` cannot be revoked.',
    params: { id: idOf('tenant'), client_id: { ...clientId, description: 'The id of the client.' } },
    tag,
    credentials,
    scope,
    errors: ['conflict', 'last_admin'],
    responses: { 204: { description: 'The client is revoked.', headers: lagHeaders } },
    async handler(request) {
      const tenant = parseTenantId(request.params.id)
      const command = { type: 'RevokeClient', client_id: parseClientId(request.params.client_id) } as const
      const { headers } = await executeCommand(tenantDecider, tenantStream(tenant), command, onBehalfOf(request, tenant), { readModel })
      return noContent(withoutEtag(headers))
    },
  })
}

/** Returns 256 random bits. They cannot be guessed, so it is enough to store their HMAC. */
const newClientSecret = () => randomBytes(32).toString('base64url')

function clientIn({ clients }: TenantState, id: ClientId): Client {
  const state = clients.get(id)
  if (state === undefined) throw new Error('the client that was just changed is not in its tenant')
  return state
}

const shownFields = fieldsThatAre(clientFields, 'shown')
/** Returns the fields of a client that responses show. The end of an overlap is shown only until it has passed. */
function clientView(row: Client, now: number): shown.Client {
  const { previous_secret_until: until } = row
  return { ...pick(row, shownFields), previous_secret_until: until !== null && Date.parse(until) > now ? until : null }
}
const pastClientView = (client: Client) => pick(client, shownFields)
const newestFirst = (a: Client, b: Client): number => byText(b.created_at, a.created_at) || byText(b.client_id, a.client_id)
