import { randomBytes } from 'node:crypto'
import { type TenantState, tenantDecider } from '../../commands/tenant.ts'
import { fieldsThatAre, pick } from '../../events/fields.ts'
import type { ClientId } from '../../events/ids.ts'
import { tenantStream } from '../../events/streams.ts'
import { type Client, clientFields } from '../../events/tenant.ts'
import { findClientOf, listClients } from '../../projections/clients.ts'
import { projectionNames } from '../../projections/names.ts'
import { findTenant } from '../../projections/tenants.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound } from '../errors.ts'
import { createExecuteCommand, newTurnId } from '../execute-command.ts'
import { parseClientId, parseTenantId } from '../ids.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent, noStore } from '../route-results.ts'
import { defaultLimit, envelope, listOf, offsetPagination } from '../schemas/common.ts'
import { lagHeaders } from '../schemas/headers.ts'
import { overlapEnd, rotation } from '../schemas/rotation.ts'
import { client, clientWithSecret, issueClient, listTenantsQuery } from '../schemas/tenant.ts'
import { storable, within } from './tenants.ts'

const shownFields = fieldsThatAre(clientFields, 'shown')
const view = (client: Client, now: number) => {
  const { previous_secret_until: until } = client
  return { ...pick(client, shownFields), previous_secret_until: until !== null && Date.parse(until) > now ? until : null }
}
/** Generated, so that its HMAC alone need be kept: 256 bits are not guessed. */
const newSecret = () => randomBytes(32).toString('base64url')

export function createClientRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const { pool, keyring, now } = deps
  const executeCommand = createExecuteCommand(deps)
  const readModel = projectionNames.tenants
  const tag = 'Tenants'
  const credentials = 'bearer'
  const scope = 'admin'

  const stateOf = (state: TenantState, id: ClientId): Client => {
    const found = state.clients.get(id)
    if (found === undefined) throw new Error('the client that was just changed is not in its tenant')
    return found
  }
  /** The revision is the tenant's, and says nothing of the client. */
  const withoutTag = ({ etag: _, ...headers }: Record<string, string>) => headers

  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/tenants/:id/clients',
      operationId: 'listClients',
      summary: "List a tenant's clients that are not revoked, newest first",
      tag,
      credentials,
      scope,
      query: listTenantsQuery,
      responses: { 200: { description: 'A page of clients.', schema: envelope(listOf(client), offsetPagination) } },
      async handler({ params, query }) {
        const { limit = defaultLimit, offset = 0 } = query
        const tenant = parseTenantId(params.id)
        if ((await findTenant(pool, tenant)) === null) throw notFound()
        const { rows, total } = await listClients(pool, { tenant, limit, offset })
        return envelopeResult(
          200,
          rows.map((row) => view(row, now())),
          {},
          { limit, offset, total },
        )
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/tenants/:id/clients/:client_id',
      operationId: 'getClient',
      summary: 'Read a client',
      tag,
      credentials,
      scope,
      responses: { 200: { description: 'The client, without its secret.', schema: envelope(client) } },
      async handler({ params }) {
        const row = await findClientOf(pool, parseTenantId(params.id), parseClientId(params.client_id))
        if (row === null) throw notFound()
        return envelopeResult(200, view(row, now()))
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants/:id/clients',
      operationId: 'issueClient',
      idempotent: true,
      summary: 'Issue a client: credentials that are exchanged for tokens of the tenant',
      tag,
      credentials,
      scope,
      body: issueClient,
      errors: ['conflict'],
      responses: { 201: { description: 'Issued. Only this answer holds the secret.', schema: envelope(clientWithSecret) } },
      async handler(request) {
        const { body, params } = request
        const tenant = parseTenantId(params.id)
        const chosen = await request.plan(() => ({
          id: parseClientId(`client_${deps.newUlid()}`),
          secret: newSecret(),
          turnId: newTurnId(),
        }))
        const { id, secret, turnId } = chosen
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
          within(request, tenant),
          { readModel, turnId },
        )
        const location = `/v1/tenants/${tenant}/clients/${id}`
        const shown = { ...view(stateOf(state, id), now()), client_secret: secret }
        return envelopeResult(201, shown, { ...withoutTag(headers), ...noStore, location })
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/tenants/:id/clients/:client_id/secret/rotate',
      operationId: 'rotateClientSecret',
      idempotent: true,
      summary: 'Give a client a new secret; tokens of the former one stop working, new ones can be had with both for a while',
      tag,
      credentials,
      scope,
      body: rotation,
      bodyOptional: true,
      errors: ['conflict'],
      responses: { 200: { description: 'Only this answer holds the new secret.', schema: envelope(clientWithSecret) } },
      async handler(request) {
        const { body, params } = request
        const tenant = parseTenantId(params.id)
        const id = parseClientId(params.client_id)
        const { secret, turnId } = await request.plan(() => ({ secret: newSecret(), turnId: newTurnId() }))
        const { state, headers } = await executeCommand(
          tenantDecider,
          tenantStream(tenant),
          {
            type: 'RotateClientSecret',
            client_id: id,
            secret_hmac: keyring.lookup('client-secret', secret),
            previous_secret_until: overlapEnd(body, now()),
          },
          within(request, tenant),
          { readModel, turnId },
        )
        return envelopeResult(200, { ...view(stateOf(state, id), now()), client_secret: secret }, { ...withoutTag(headers), ...noStore })
      },
    }),
    guardedRoute({
      method: 'DELETE',
      path: '/v1/tenants/:id/clients/:client_id',
      operationId: 'revokeClient',
      summary: 'Revoke a client; its tokens stop working within a second',
      tag,
      credentials,
      scope,
      errors: ['conflict', 'last_admin'],
      responses: { 204: { description: 'Revoked.', headers: lagHeaders } },
      async handler(request) {
        const tenant = parseTenantId(request.params.id)
        const command = { type: 'RevokeClient', client_id: parseClientId(request.params.client_id) } as const
        const { headers } = await executeCommand(tenantDecider, tenantStream(tenant), command, within(request, tenant), { readModel })
        return noContent(withoutTag(headers))
      },
    }),
  ]
}
