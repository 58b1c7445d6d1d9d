import { randomInt } from 'node:crypto'
import type { Caller } from '../../commands/caller.ts'
import { keyDecider } from '../../commands/key.ts'
import { defaultsOf, fieldsThatAre, pick } from '../../events/fields.ts'
import { type Key, type KeyField, type KeyScope, keyFields } from '../../events/key.ts'
import { keyStream } from '../../events/streams.ts'
import { findKey, listKeys } from '../../projections/api-keys.ts'
import { keyVersions, listKeysAsOf } from '../../projections/key-versions.ts'
import { projectionNames } from '../../projections/names.ts'
import { parseAsOf, requireAuditScope, stateAt } from '../as-of.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, notFound } from '../errors.ts'
import { etagHeader } from '../etag.ts'
import { createExecuteCommand, newTurnId } from '../execute-command.ts'
import { parseKeyId } from '../ids.ts'
import { awaitHead } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noContent, noStore } from '../route-results.ts'
import { defaultLimit, envelope, listOf, offsetPagination } from '../schemas/common.ts'
import { changeHeaders, creationHeaders, ifMatch, lagHeaders, pastReadHeaders, stateHeaders } from '../schemas/headers.ts'
import { atMomentQuery } from '../schemas/history.ts'
import { changeKey, createKey, deleteKeyQuery, key, listKeysQuery, rotatedKey } from '../schemas/key.ts'
import { overlapEnd, rotation } from '../schemas/rotation.ts'
import { wellFormed } from '../well-formed.ts'

type ShownKey = Pick<Key, KeyField<'shown'>>
const shownFields = fieldsThatAre(keyFields, 'shown')

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
/** 12 of `[A-Z0-9]`: 62 bits. */
const newKeyValue = () => Array.from({ length: 12 }, () => letters[randomInt(letters.length)]).join('')

const holdsAll = (caller: Caller, scopes: readonly KeyScope[]) => scopes.every((scope) => caller.scopes.has(scope))

/** A key's value is a credential: whoever lacks one of its scopes would gain it by reading it. */
const view = (row: Omit<ShownKey, 'last_accessed_at'>, last_accessed_at: string | null, caller: Caller): ShownKey => ({
  ...pick({ ...row, last_accessed_at }, shownFields),
  key: holdsAll(caller, row.scopes) ? row.key : `${row.key.slice(0, 4)}********`,
})
function mayGive(caller: Caller, scopes: readonly KeyScope[] | undefined): void {
  if (scopes !== undefined && !holdsAll(caller, scopes))
    throw new ApiError('scope_exceeds_caller', 'A key cannot hold a scope that your own token lacks.')
}

export function createKeyRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const executeCommand = createExecuteCommand(deps)
  const readModel = projectionNames.keys
  const tag = 'Keys'
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/keys/:id',
      operationId: 'getKey',
      summary: 'Read an API key',
      tag,
      credentials: 'bearer',
      scope: 'read:keys',
      query: atMomentQuery,
      errors: ['event_not_readable'],
      responses: { 200: { description: 'The key, as it is or as it was.', schema: envelope(key), headers: stateHeaders } },
      async handler({ params, query, caller }) {
        const id = parseKeyId(params.id)
        if (query.as_of !== undefined || query.revision !== undefined) {
          const { state, revision } = stateAt(keyDecider, await deps.streams.read(keyStream(id)), caller, query)
          return envelopeResult(200, view(state, null, caller), { ...etagHeader(revision), ...noStore })
        }
        const row = await findKey(deps, caller.tenant, id)
        if (row === null) throw notFound()
        return envelopeResult(200, view(row, row.last_accessed_at, caller), { ...etagHeader(row.revision), ...noStore })
      },
    }),
    guardedRoute({
      method: 'GET',
      path: '/v1/keys',
      operationId: 'listKeys',
      summary: 'List API keys, newest first',
      tag,
      credentials: 'bearer',
      scope: 'read:keys',
      query: listKeysQuery,
      responses: { 200: { description: 'A page of keys.', schema: envelope(listOf(key), offsetPagination), headers: pastReadHeaders } },
      async handler({ query, caller }) {
        const { as_of: asOf, limit = defaultLimit, offset = 0 } = query
        if (asOf !== undefined) {
          requireAuditScope(caller)
          const headers = await awaitHead(deps, keyVersions)
          const past = await listKeysAsOf(deps, { tenant: caller.tenant, asOf: parseAsOf(asOf), limit, offset })
          return envelopeResult(
            200,
            past.rows.map((row) => view(row, null, caller)),
            { ...headers, ...noStore },
            { limit, offset, total: past.total },
          )
        }
        const { rows, total } = await listKeys(deps, { tenant: caller.tenant, limit, offset })
        const shown = rows.map((row) => view(row, row.last_accessed_at, caller))
        return envelopeResult(200, shown, noStore, { limit, offset, total })
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/keys',
      operationId: 'createKey',
      idempotent: true,
      summary: 'Create an API key for a consumer',
      tag,
      credentials: 'bearer',
      scope: 'write:keys',
      body: createKey,
      errors: ['scope_exceeds_caller'],
      responses: { 201: { description: 'Created.', schema: envelope(key), headers: creationHeaders } },
      async handler(request) {
        const { caller, body } = request
        mayGive(caller, body.scopes)
        const chosen = await request.plan(() => ({ id: parseKeyId(deps.newUlid()), value: newKeyValue(), turnId: newTurnId() }))
        const { id, value, turnId } = chosen
        const { state, headers } = await executeCommand(
          keyDecider,
          keyStream(id),
          {
            ...defaultsOf(keyFields),
            ...wellFormed(body),
            ...{ type: 'CreateKey', id, tenant: caller.tenant, key: value },
          },
          request,
          { readModel, create: true, turnId },
        )
        return envelopeResult(201, view(state, null, caller), { ...headers, ...noStore, location: `/v1/keys/${id}` })
      },
    }),
    guardedRoute({
      method: 'PATCH',
      path: '/v1/keys/:id',
      operationId: 'changeKey',
      summary: 'Change an API key',
      tag,
      credentials: 'bearer',
      scope: 'write:keys',
      body: changeKey,
      requestHeaders: ifMatch,
      errors: ['scope_exceeds_caller', 'precondition_failed', 'conflict'],
      responses: { 200: { description: 'The key as it is now.', schema: envelope(key), headers: changeHeaders } },
      async handler(request) {
        const { caller, body, params } = request
        mayGive(caller, body.scopes)
        const id = parseKeyId(params.id)
        const { state, headers } = await executeCommand(keyDecider, keyStream(id), { type: 'ChangeKey', ...wellFormed(body) }, request, {
          readModel,
        })
        const used = await findKey(deps, caller.tenant, id)
        return envelopeResult(200, view(state, used?.last_accessed_at ?? null, caller), { ...headers, ...noStore })
      },
    }),
    guardedRoute({
      method: 'DELETE',
      path: '/v1/keys/:id',
      operationId: 'deleteKey',
      summary: 'Delete an API key; the webhooks that it created stay, or are deactivated',
      tag,
      credentials: 'bearer',
      scope: 'write:keys',
      query: deleteKeyQuery,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: { 204: { description: 'Deleted.', headers: lagHeaders } },
      async handler(request) {
        const { webhooks = 'keep' } = request.query
        const stream = keyStream(parseKeyId(request.params.id))
        const { headers } = await executeCommand(keyDecider, stream, { type: 'DeleteKey', webhooks }, request, { readModel })
        const { etag: _, ...rest } = headers
        return noContent(rest)
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/keys/:id/rotate',
      operationId: 'rotateKey',
      idempotent: true,
      summary: 'Give an API key a new value: same id, same webhooks; both values work for a while',
      tag,
      credentials: 'bearer',
      scope: 'write:keys',
      body: rotation,
      bodyOptional: true,
      requestHeaders: ifMatch,
      errors: ['scope_exceeds_caller', 'precondition_failed', 'conflict'],
      responses: { 200: { description: 'The key with its new value.', schema: envelope(rotatedKey), headers: changeHeaders } },
      async handler(request) {
        const { caller, body, params } = request
        const id = parseKeyId(params.id)
        const row = await findKey(deps, caller.tenant, id)
        if (row === null) throw notFound()
        // Whoever makes a value reads it.
        if (!holdsAll(caller, row.scopes))
          throw new ApiError('scope_exceeds_caller', 'This key holds a scope that your own token lacks: you cannot give it a value.')
        const { value, turnId } = await request.plan(() => ({ value: newKeyValue(), turnId: newTurnId() }))
        const { state, headers } = await executeCommand(
          keyDecider,
          keyStream(id),
          { type: 'RotateKey', key: value, previous_key_until: overlapEnd(body, deps.now()) },
          request,
          { readModel, turnId },
        )
        const shown = { ...view(state, row.last_accessed_at, caller), previous_key_until: state.previous_key_until }
        return envelopeResult(200, shown, { ...headers, ...noStore })
      },
    }),
  ]
}
