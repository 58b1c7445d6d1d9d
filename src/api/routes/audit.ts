import type { NewEvent } from '../../events/envelope.ts'
import { openEvent } from '../../events/sealed-fields.ts'
import type { Vault } from '../../lib/seal.ts'
import { type AuditedEvent, audit, auditedEvents } from '../../projections/audit.ts'
import { createActorNames, type NamedActor } from '../actor-names.ts'
import { caughtUp } from '../changes.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { guardedRoute, type Route } from '../route.ts'
import { auditedEvent, auditQuery } from '../schemas/audit.ts'
import { pastReadHeaders } from '../schemas/headers.ts'
import { range } from '../time-range.ts'

const ndjson = 'application/x-ndjson'
/** Nobody is shown these, whatever they may read: not even the HMAC of a secret. */
const secrets = ['secret', 'key', 'secret_hmac']

export function createAuditRoutes(deps: ApiDependencies): Route[] {
  const { pool, keyring } = deps

  const line = (vault: Vault, event: AuditedEvent, actor: NamedActor): string => {
    const { stream, id, type, time, family, revision, correlation_id: $correlationId } = event
    const metadata = { schema: 1, actor: event.actor, tenant: event.tenant, time, $correlationId, $causationId: null }
    const stored: Record<string, unknown> = JSON.parse(event.data)
    const sealed: Record<string, string> = {}
    for (const field of secrets)
      if (field in stored) {
        sealed[field] = '[sealed]'
        delete stored[field]
      }
    const opened: NewEvent = openEvent(vault, stream, { id, type, data: stored, metadata })
    return JSON.stringify({
      event_id: id,
      time,
      family,
      id: stream.slice(family.length + 1),
      revision,
      type,
      actor,
      correlation_id: $correlationId,
      data: { ...opened.data, ...sealed },
    })
  }

  return [
    guardedRoute({
      method: 'GET',
      path: '/v1/audit',
      operationId: 'streamAudit',
      summary: 'All that was decided for this account, oldest first, one JSON object a line',
      tag: 'Audit',
      credentials: 'bearer',
      scope: 'read:audit',
      query: auditQuery,
      errors: ['key_destroyed'],
      responses: {
        200: {
          description: 'Each line is one of these. A stream that breaks off has no last line feed.',
          schema: auditedEvent,
          type: ndjson,
          headers: pastReadHeaders,
        },
      },
      async handler({ query, caller, gone }) {
        const { tenant } = caller
        const { family, actor } = query
        const headers = await caughtUp(deps, audit)
        const vault = await keyring.vault(tenant)
        const shown = createActorNames(deps, tenant)
        const hungUp = gone()
        const batches = auditedEvents(pool, {
          tenant,
          ...range(query),
          ...(family === undefined ? {} : { family }),
          ...(actor === undefined ? {} : { actor }),
        })
        async function* lines(): AsyncGenerator<string> {
          for await (const batch of batches) {
            if (hungUp.aborted) return
            const written = await Promise.all(batch.map(async (event) => `${line(vault, event, await shown(event.actor))}\n`))
            yield written.join('')
          }
        }
        return { status: 200, headers, stream: { type: ndjson, chunks: lines() } }
      },
    }),
  ]
}
