import { webhookDecider } from '../../commands/webhook.ts'
import { pick } from '../../events/fields.ts'
import { webhookStream } from '../../events/streams.ts'
import { projectionNames } from '../../projections/names.ts'
import { findWebhook } from '../../projections/webhooks.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { notFound, webhookInactive } from '../errors.ts'
import { createExecuteCommand, newCommandId } from '../execute-command.ts'
import { parseMessageId, parseWebhookId } from '../ids.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noStore } from '../route-results.ts'
import { envelope, envelopeExample, idOf } from '../schemas/common.ts'
import { acceptedEvent } from '../schemas/event.ts'
import { changeHeaders, ifMatch } from '../schemas/headers.ts'
import { exampleOf } from '../schemas/json-schema.ts'
import { overlapEnd } from '../schemas/rotation.ts'
import { rotatedWebhook, rotateSecret } from '../schemas/webhook.ts'
import { sealMessage } from '../seal-message.ts'
import { newWebhookSecret, ownerOf, webhookView } from '../webhook-views.ts'

/** The event name of test messages. Producers cannot post it, because its prefix is reserved. */
const testEvent = 'kolbak.test'

/** The routes that do something with a webhook other than reading or changing its fields. */
export function createWebhookActionRoutes(deps: ApiDependencies & { newUlid(): string }): Route[] {
  const { bus, keyring, now, newUlid } = deps
  const executeCommand = createExecuteCommand(deps)
  const tag = 'Webhooks'
  const credentials = 'bearer-or-key'
  const scope = 'write:webhooks'

  return [
    guardedRoute({
      method: 'POST',
      path: '/v1/webhooks/:id/secret/rotate',
      operationId: 'rotateWebhookSecret',
      idempotent: true,
      summary:
        'Give a webhook a new secret. Both secrets sign during the overlap, so that receivers can change over. A still older secret stops signing at once',
      description:
        'Replaces the secret that signs requests. During the overlap each request has one signature of each secret, so a receiver accepts it with either.',
      params: { id: idOf('webhook') },
      tag,
      credentials,
      scope,
      body: rotateSecret,
      example: { overlap_seconds: 86_400 },
      bodyOptional: true,
      requestHeaders: ifMatch,
      errors: ['precondition_failed', 'conflict'],
      responses: {
        200: { description: 'The webhook. Only this response contains the new secret.', schema: rotatedWebhook, headers: changeHeaders },
      },
      async handler(request) {
        const id = parseWebhookId(request.params.id)
        const planned = await request.plan(() => ({ secret: newWebhookSecret(), commandId: newCommandId() }))
        const { secret = planned.secret } = request.body
        const { state, headers } = await executeCommand(
          webhookDecider,
          webhookStream(id),
          { type: 'RotateWebhookSecret', secret, previous_secret_until: overlapEnd(request.body, now()) },
          request,
          { readModel: projectionNames.webhooks, commandId: planned.commandId },
        )
        const row = await findWebhook(deps, ownerOf(request), id)
        return {
          status: 200,
          headers: { ...headers, ...noStore },
          body: { ...webhookView(state, row?.failing_since ?? null), ...pick(state, ['secret', 'previous_secret_until']) },
        }
      },
    }),
    guardedRoute({
      method: 'POST',
      path: '/v1/webhooks/:id/test',
      operationId: 'testWebhook',
      summary: 'Send the event kolbak.test to this webhook alone, whatever its pattern is',
      description:
        'Sends an event to one webhook, so that its owner sees whether the receiver works. It is signed, delivered and recorded like any other event. Patterns do not match it.',
      params: { id: idOf('webhook') },
      tag,
      credentials,
      scope,
      errors: ['webhook_inactive', 'bus_full', 'bus_unavailable', 'key_destroyed'],
      responses: {
        202: {
          description: 'The event is stored. The list of the deliveries of the webhook shows its outcome.',
          schema: envelope(acceptedEvent),
          example: envelopeExample(exampleOf(acceptedEvent, { id: 'evt_01JQNV4T0M2ZB7V6RWKD5YQ3XE' })),
        },
      },
      async handler(request) {
        const { tenant } = request.caller
        const target = parseWebhookId(request.params.id)
        const webhook = await findWebhook(deps, ownerOf(request), target)
        if (webhook === null) throw notFound()
        if (!webhook.is_active) throw webhookInactive()
        const id = parseMessageId(`evt_${newUlid()}`)
        const accepted_at = new Date(now()).toISOString()
        const payload = Buffer.from(JSON.stringify({ webhook_id: target, message: 'This is a test.' }))
        const vault = await keyring.vault(tenant)
        const content = { event: testEvent, event_time: accepted_at, source: 'kolbak' }
        const messages = [sealMessage(vault, tenant, id, content, payload)]
        await bus.produce({
          tenant,
          accepted_at,
          correlation_id: request.requestId,
          by: { actor: request.caller.actor, request_id: request.kolbakRequestId },
          messages,
          target,
        })
        return envelopeResult(202, { id, message: 'Event accepted for processing.' })
      },
    }),
  ]
}
