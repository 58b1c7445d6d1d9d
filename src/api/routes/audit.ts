import type { NewEvent } from '../../events/envelope.ts'
import { upcast } from '../../events/schema.ts'
import { openEvent } from '../../events/sealed-fields.ts'
import { secretFields } from '../../events/secret-fields.ts'
import type { Vault } from '../../lib/seal.ts'
import { type AuditedEvent, audit, auditedEvents } from '../../projections/audit.ts'
import { createActorNames, type NamedActor } from '../actor-names.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { awaitHead } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { auditLines, auditQuery } from '../schemas/audit.ts'
import { pastReadHeaders } from '../schemas/headers.ts'
import { parseTimeRange } from '../time-range.ts'

const ndjson = 'application/x-ndjson'

export function createAuditRoutes(deps: ApiDependencies): Route[] {
  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/audit',
      operationId: 'streamAudit',
      summary: 'Stream all changes of this account, oldest first, as one JSON object per line',
      description:
        'Streams every change of the account: who did what, when, and under which request. Each line of the response is one JSON object of the schema `AuditedEvent`. A stream can be long: read it line by line.',
      tag: 'Audit',
      credentials: 'bearer',
      scope: 'read:audit',
      query: auditQuery,
      errors: ['key_destroyed'],
      responses: {
        200: {
          description: 'Each line is one event. If the stream breaks off, its last line has no line feed.',
          schema: auditLines,
          type: ndjson,
          headers: pastReadHeaders,
        },
      },
      async handler({ query, caller, gone }) {
        const { tenant } = caller
        const { family, actor } = query
        const headers = await awaitHead(deps, audit)
        const vault = await deps.keyring.vault(tenant)
        const nameActor = createActorNames(deps, tenant)
        const callerGone = gone()
        const batches = auditedEvents(deps.pool, {
          tenant,
          ...parseTimeRange(query),
          ...(family === undefined ? {} : { family }),
          ...(actor === undefined ? {} : { actor }),
        })
        async function* lines(): AsyncGenerator<string> {
          for await (const batch of batches) {
            if (callerGone.aborted) return
            const batchLines = await Promise.all(batch.map(async (event) => `${auditLine(vault, event, await nameActor(event.actor))}\n`))
            yield batchLines.join('')
          }
        }
        return { status: 200, headers, stream: { type: ndjson, chunks: lines() } }
      },
    }),
  ]
}

/** Returns an event as one line of JSON. Sealed fields are opened, and secret fields are masked. */
function auditLine(vault: Vault, event: AuditedEvent, actor: NamedActor): string {
  const { stream, id, type, time, family, revision, correlation_id: $correlationId } = event
  const metadata = { schema: event.schema, actor: event.actor, tenant: event.tenant, time, $correlationId, $causationId: null }
  const { data } = upcast<NewEvent<string, Record<string, unknown>>>({ id, type, data: JSON.parse(event.data), metadata })
  const shown = { ...data }
  const masked: Record<string, string> = {}
  for (const field of secretFields)
    if (field in data) {
      masked[field] = '[sealed]'
      delete shown[field]
    }
  const opened = openEvent(vault, stream, { id, type, data: shown, metadata })
  return JSON.stringify({
    event_id: id,
    time,
    family,
    id: stream.slice(family.length + 1),
    revision,
    type,
    actor,
    correlation_id: $correlationId,
    data: { ...opened.data, ...masked },
  })
}
