import { isListedAttempt } from '../../events/delivery.ts'
import { isErased, openBody } from '../../events/sealed-body.ts'
import { attemptHeaders, commonHeaders, userAgentOf } from '../../lib/request-headers.ts'
import { KeyDestroyed } from '../../lib/seal.ts'
import { signatureHeaders, signingKey } from '../../lib/sign.ts'
import type { Attempt } from '../../ports/delivery-log.ts'
import { type WebhookAtAttempt, webhookAtAttempt } from '../attempt-revision.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, lacksScope, notRetained } from '../errors.ts'
import { mayRead } from '../identity.ts'
import { parseDeliveryId } from '../ids.ts'
import type * as shown from '../responses.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult, noStore } from '../route-results.ts'
import { envelope, uuid } from '../schemas/common.ts'
import { requestQuery, sentRequest } from '../schemas/request.ts'

/** The reasons of attempts that ended without a request. */
const withoutRequest = new Set(['expired', 'payload_expired', 'payload_erased', 'payload_unreadable'])

/** The route that shows the request of an attempt. The request is not stored: it is made again from the archived body and the events of the webhook. */
export const createSentRequestRoutes = (deps: ApiDependencies): Route[] => [
  guardedRoute({
    method: 'GET',
    path: '/v1/deliveries/:id/request',
    operationId: 'getSentRequest',
    summary: 'Read the request of an attempt, byte for byte as it was sent',
    description:
      'Returns the URL, the headers and the body of the request that an attempt sent, made of the event and of the webhook as it was then. It also needs the scope `read:events`, because the body holds the payload.',
    params: { id: { ...uuid, description: 'The id of the delivery.' } },
    tag: 'Deliveries',
    credentials: 'bearer',
    scope: 'read:webhooks',
    query: requestQuery,
    errors: ['delivery_log_unavailable', 'event_not_readable', 'key_destroyed'],
    responses: { 200: { description: 'The request.', schema: envelope(sentRequest) } },
    async handler({ params, query, caller }) {
      for (const scope of ['read:events', ...(query.signed === true ? (['write:webhooks'] as const) : [])] as const)
        if (!mayRead(caller, scope)) throw lacksScope(scope)
      const row = await deps.deliveryLog.find(caller.tenant, parseDeliveryId(params.id))
      if (row === null) throw notRetained(deps)
      const [attempts = []] = await deps.deliveryLog.attempts([row])
      const attempt = chooseAttempt(deps, attempts, query)
      const webhookThen = await webhookAtAttempt(deps, row.webhook, attempt)
      if (webhookThen === null) throw notRetained(deps)
      const [sealedBody] = await deps.deliveryLog.bodies([row])
      const vault = await deps.keyring.vault(caller.tenant)
      if (vault.isErased) throw new KeyDestroyed(caller.tenant)
      const body =
        sealedBody === undefined || sealedBody === null || isErased(sealedBody)
          ? null
          : openBody(vault, caller.tenant, row.message, sealedBody)
      return envelopeResult(
        200,
        {
          method: 'POST',
          url: webhookThen.webhook.callback_url,
          headers: headersOf(deps, webhookThen, { message: row.message, attempt, body, isSigned: query.signed === true }),
          body: body?.toString() ?? null,
          webhook_revision: webhookThen.revision,
          is_certain: webhookThen.isCertain,
          present_revision: webhookThen.presentRevision,
        } satisfies shown.SentRequest,
        noStore,
      )
    },
  }),
]

/** Returns the requested attempt, by default the latest one. Throws not_found if there is none, or if it sent no request. */
function chooseAttempt(
  deps: ApiDependencies,
  attempts: readonly Attempt[],
  query: { readonly chain?: number; readonly attempt?: number },
): Attempt {
  const attempt = attempts.findLast(
    ({ type, chain, attempt: number }) => isListedAttempt(type) && (query.chain ?? chain) === chain && (query.attempt ?? number) === number,
  )
  if (attempt === undefined) throw notRetained(deps)
  if (withoutRequest.has(attempt.reason ?? '')) throw new ApiError('not_found', 'This attempt ended without a request.')
  return attempt
}

/** Returns the headers of the request, in their order. */
function headersOf(
  { settings }: Pick<ApiDependencies, 'settings'>,
  { webhook }: WebhookAtAttempt,
  { message, attempt, body, isSigned }: { message: string; attempt: Attempt; body: Buffer | null; isSigned: boolean },
): Record<string, string> {
  const attemptedAt = Date.parse(attempt.time)
  const { secret, previous_secret: previous, previous_secret_until: until } = webhook
  const secrets = previous !== null && until !== null && attemptedAt < Date.parse(until) ? [secret, previous] : [secret]
  const signed = signatureHeaders(secrets.map(signingKey), message, body ?? Buffer.alloc(0), attemptedAt)
  const { 'webhook-signature': signature, ...identity } = signed
  return {
    Host: new URL(webhook.callback_url).host,
    Connection: 'keep-alive',
    ...commonHeaders(userAgentOf(settings.version)),
    ...identity,
    ...(isSigned && body !== null ? { 'webhook-signature': signature } : {}),
    ...attemptHeaders(attempt),
    ...(body === null ? {} : { 'Content-Length': String(body.length) }),
  }
}
