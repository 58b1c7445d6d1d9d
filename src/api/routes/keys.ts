import { randomInt } from 'node:crypto'
import type { Caller } from '../../commands/caller.ts'
import { keyDecider } from '../../commands/key.ts'
import { defaultsOf, fieldsThatAre, pick } from '../../events/fields.ts'
import { type Key, type KeyField, type KeyScope, keyFields } from '../../events/key.ts'
import { keyStream } from '../../events/streams.ts'
import { findKey, listKeys } from '../../projections/api-keys.ts'
import { keyVersions, listKeysAsOf } from '../../projections/key-versions.ts'
import { projectionNames } from '../../projections/names.ts'
import { listIndexHeader, namesMoment, parseAsOf, requireWholeStreams, stateAt } from '../as-of.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound } from '../errors.ts'
import { etagHeader, withoutEtag } from '../etag.ts'
import { createExecuteCommand, newCommandId } from '../execute-command.ts'
import { parseKeyId } from '../ids.ts'
import { awaitHead } from '../projection-lag.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent, noStore } from '../route-results.ts'
import { defaultLimit, envelope, envelopeExample, idOf, listOf, offsetPagination } from '../schemas/common.ts'
import { changeHeaders, creationHeaders, ifMatch, lagHeaders, momentHeaders, pastListHeaders } from '../schemas/headers.ts'
import { atMomentQuery } from '../schemas/history.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { changeKey, createKey, deleteKeyQuery, key, listKeysQuery, rotatedKey } from '../schemas/key.ts'
import { overlapEnd, rotation } from '../schemas/rotation.ts'

const tag = 'Keys'
const credentials = 'bearer'
const readModel = projectionNames.keys

export const createKeyRoutes = (deps: ApiDependencies & { newUlid(): string }): Route[] => [
  getKeyRoute(deps),
  listKeysRoute(deps),
  createKeyRoute(deps),
  changeKeyRoute(deps),
  deleteKeyRoute(deps),
  rotateKeyRoute(deps),
]

const getKeyRoute = (deps: ApiDependencies): Route =>
  guardedRoute({
    method: 'GET',
    path: '/v1/keys/:id',
    operationId: 'getKey',
    summary: 'Read an API key',
    description:
      'Returns an API key as it is now, or as it was at a time or a revision. Its value is masked if the caller lacks one of its scopes.',
    params: { id: idOf('API key') },
    tag,
    credentials,
    scope: 'read:keys',
    query: atMomentQuery,
    errors: ['event_not_readable'],
    responses: { 200: { description: 'The present key, or its requested past state.', schema: envelope(key), headers: momentHeaders } },
    async handler({ params, query, caller }) {
      const id = parseKeyId(params.id)
      if (namesMoment(query)) {
        const { state, revision, headers } = await stateAt(deps, keyDecider, keyStream(id), caller.tenant, query)
        return envelopeResult(200, keyView(state, null, caller), { ...etagHeader(revision), ...headers, ...noStore })
      }
      const row = await findKey(deps, caller.tenant, id)
      if (row === null) throw notFound()
      return envelopeResult(200, keyView(row, row.last_accessed_at, caller), { ...etagHeader(row.revision), ...noStore })
    },
  })

const listKeysRoute = (deps: ApiDependencies): Route =>
  guardedRoute({
    method: 'GET',
    path: '/v1/keys',
    operationId: 'listKeys',
    summary: 'List API keys, newest first',
    description:
      'Returns the API keys of the account, as they are now or as they were at a time. The value of a key is masked if the caller lacks one of its scopes.',
    tag,
    credentials,
    scope: 'read:keys',
    query: listKeysQuery,
    errors: ['event_not_readable'],
    responses: { 200: { description: 'A page of keys.', schema: envelope(listOf(key), offsetPagination), headers: pastListHeaders } },
    async handler({ query, caller }) {
      const { as_of: asOf, limit = defaultLimit, offset = 0 } = query
      const { tenant } = caller
      if (asOf !== undefined) {
        const headers = await awaitHead(deps, keyVersions)
        const time = parseAsOf(asOf, deps.now())
        const past = await listKeysAsOf(deps, { tenant, asOf: time, limit, offset })
        const index = await listIndexHeader(deps, time, tenant)
        await requireWholeStreams(
          deps,
          past.rows.map(({ id }) => keyStream(id)),
        )
        const views = past.rows.map((row) => keyView(row, null, caller))
        return envelopeResult(200, views, { ...headers, ...index, ...noStore }, { limit, offset, total: past.total })
      }
      const { rows, total } = await listKeys(deps, { tenant, limit, offset })
      const views = rows.map((row) => keyView(row, row.last_accessed_at, caller))
      return envelopeResult(200, views, noStore, { limit, offset, total })
    },
  })

function createKeyRoute(deps: ApiDependencies & { newUlid(): string }): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/keys',
    operationId: 'createKey',
    idempotent: true,
    summary: 'Create an API key for a consumer',
    description:
      'Creates an API key that a consumer sends as `x-api-key`. A key sees and changes only the webhooks that it created. It can have only scopes that the caller has.',
    tag,
    credentials,
    scope: 'write:keys',
    body: createKey,
    example: { name: 'Shop', description: 'For the developers of the shop.', scopes: ['read:webhooks', 'write:webhooks'] },
    errors: ['scope_exceeds_caller'],
    responses: {
      201: {
        description: 'The key.',
        schema: envelope(key),
        example: envelopeExample(exampleOf(key, { last_accessed_at: null })),
        headers: creationHeaders,
      },
    },
    async handler(request) {
      const { caller, body } = request
      requireScopes(caller, body.scopes)
      const { id, value, commandId } = await request.plan(() => ({
        id: parseKeyId(deps.newUlid()),
        value: newKeyValue(),
        commandId: newCommandId(),
      }))
      const { state, headers } = await executeCommand(
        keyDecider,
        keyStream(id),
        { ...defaultsOf(keyFields), ...body, ...{ type: 'CreateKey', id, tenant: caller.tenant, key: value } },
        request,
        { readModel, create: true, commandId },
      )
      return envelopeResult(201, keyView(state, null, caller), { ...headers, ...noStore, location: `/v1/keys/${id}` })
    },
  })
}

function changeKeyRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'PATCH',
    path: '/v1/keys/:id',
    operationId: 'changeKey',
    summary: 'Change an API key',
    description: 'Changes the fields that the body has, and keeps all others. A scope that is taken away stops working within a second.',
    params: { id: idOf('API key') },
    tag,
    credentials,
    scope: 'write:keys',
    body: changeKey,
    example: { name: 'Shop (read only)', scopes: ['read:webhooks'] },
    requestHeaders: ifMatch,
    errors: ['scope_exceeds_caller', 'precondition_failed', 'conflict'],
    responses: {
      200: {
        description: 'The changed key.',
        schema: envelope(key),
        example: envelopeExample(exampleOf(key, { name: 'Shop (read only)', scopes: ['read:webhooks'] })),
        headers: changeHeaders,
      },
    },
    async handler(request) {
      const { caller, body, params } = request
      requireScopes(caller, body.scopes)
      const id = parseKeyId(params.id)
      const command = { type: 'ChangeKey', ...body } as const
      const { state, headers } = await executeCommand(keyDecider, keyStream(id), command, request, { readModel })
      const row = await findKey(deps, caller.tenant, id)
      return envelopeResult(200, keyView(state, row?.last_accessed_at ?? null, caller), { ...headers, ...noStore })
    },
  })
}

function deleteKeyRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'DELETE',
    path: '/v1/keys/:id',
    operationId: 'deleteKey',
    summary: 'Delete an API key; the webhooks that it created stay, or are deactivated',
    description:
      'Deletes an API key, which stops working within a second. With `webhooks=deactivate`, the webhooks that it created get no more events.',
    params: { id: idOf('API key') },
    tag,
    credentials,
    scope: 'write:keys',
    query: deleteKeyQuery,
    requestHeaders: ifMatch,
    errors: ['precondition_failed', 'conflict'],
    responses: { 204: { description: 'The key is deleted.', headers: lagHeaders } },
    async handler(request) {
      const { webhooks = 'keep' } = request.query
      const stream = keyStream(parseKeyId(request.params.id))
      const { headers } = await executeCommand(keyDecider, stream, { type: 'DeleteKey', webhooks }, request, { readModel })
      return noContent(withoutEtag(headers))
    },
  })
}

function rotateKeyRoute(deps: ApiDependencies): Route {
  const executeCommand = createExecuteCommand(deps)
  return guardedRoute({
    method: 'POST',
    path: '/v1/keys/:id/rotate',
    operationId: 'rotateKey',
    idempotent: true,
    summary: 'Give an API key a new value. Its id and its webhooks stay, and both values work during the overlap',
    description:
      'Replaces the value of an API key. The former value also works until the overlap ends, so that the consumer can change over.',
    params: { id: idOf('API key') },
    tag,
    credentials,
    scope: 'write:keys',
    body: rotation,
    example: { overlap_seconds: 3_600 },
    bodyOptional: true,
    requestHeaders: ifMatch,
    errors: ['scope_exceeds_caller', 'precondition_failed', 'conflict'],
    responses: { 200: { description: 'The key with its new value.', schema: envelope(rotatedKey), headers: changeHeaders } },
    async handler(request) {
      const { caller, body, params } = request
      const id = parseKeyId(params.id)
      const row = await findKey(deps, caller.tenant, id)
      if (row === null) throw notFound()
      // The response contains the new value. A caller may see it only if the caller has all scopes of the key.
      if (!hasAllScopes(caller, row.scopes))
        throw new ApiError('scope_exceeds_caller', 'This key has a scope that your own token lacks, so you cannot give it a new value.')
      const { value, commandId } = await request.plan(() => ({ value: newKeyValue(), commandId: newCommandId() }))
      const { state, headers } = await executeCommand(
        keyDecider,
        keyStream(id),
        { type: 'RotateKey', key: value, previous_key_until: overlapEnd(body, deps.now()) },
        request,
        { readModel, commandId },
      )
      const view = { ...keyView(state, row.last_accessed_at, caller), previous_key_until: state.previous_key_until }
      return envelopeResult(200, view, { ...headers, ...noStore })
    },
  })
}

const characters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
/** Returns 12 random characters, which are 62 random bits. */
const newKeyValue = () => Array.from({ length: 12 }, () => characters[randomInt(characters.length)]).join('')

const hasAllScopes = (caller: Caller, scopes: readonly KeyScope[]) => scopes.every((scope) => caller.scopes.has(scope))

/** Throws scope_exceeds_caller when a key would get a scope that the caller lacks. */
function requireScopes(caller: Caller, scopes: readonly KeyScope[] | undefined): void {
  if (scopes !== undefined && !hasAllScopes(caller, scopes))
    throw new ApiError('scope_exceeds_caller', 'A key cannot have a scope that your own token lacks.')
}

type ShownKey = Pick<Key, KeyField<'shown'>>
const shownFields = fieldsThatAre(keyFields, 'shown')

/**
 * Returns the fields of a key that responses show. The value is masked if the caller lacks a scope of the key, because the caller would gain that
 * scope by the value.
 */
const keyView = (row: Omit<ShownKey, 'last_accessed_at'>, last_accessed_at: string | null, caller: Caller): shown.Key => ({
  ...pick({ ...row, last_accessed_at }, shownFields),
  key: hasAllScopes(caller, row.scopes) ? row.key : `${row.key.slice(0, 4)}********`,
})
