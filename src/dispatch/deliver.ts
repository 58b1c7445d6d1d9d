import { type AttemptEventType, statusOf } from '../events/delivery.ts'
import type { DeliveryRef } from '../events/refs.ts'
import { isErased, openBody } from '../events/sealed-body.ts'
import { step } from '../events/steps.ts'
import type { Keyring } from '../lib/keyring.ts'
import { attemptHeaders } from '../lib/request-headers.ts'
import { untilDone } from '../lib/retry.ts'
import { KeyDestroyed, SealBroken, type Vault } from '../lib/seal.ts'
import { signatureHeaders } from '../lib/sign.ts'
import { keptHeaders } from './kept-headers.ts'
import type { DispatchMetrics } from './metrics.ts'
import { outcomeOf } from './outcome.ts'
import { type RecordAttemptDeps, recordAttempt } from './record-attempt.ts'
import { parseRetryAfter } from './retry-after.ts'
import { nextDelay, parkingTime } from './retry-policy.ts'
import type { Schedule } from './schedule.ts'
import type { ReceiverResponse, Sender } from './send.ts'
import type { Slot, Slots } from './slots.ts'
import type { CachedWebhook, WebhookCache } from './webhook-cache.ts'

/** The origin of a delivery: the bus, or a row of `scheduled_deliveries`. */
interface Origin {
  /** True if this process has claimed the delivery's row, false if the message came from the bus. */
  readonly fromTable: boolean
  /** RFC 3339 time at which the delivery was parked, or null. */
  readonly parked_at: string | null
  /** The sealed body, null if it has expired, or empty if it was erased. */
  readonly sealedBody: Buffer | null
  /** Returns whether this process still has the lease or the claim. It is called just before the request is sent. */
  isOwned(): boolean
}
/**
 * `done`: the delivery was attempted, ended or parked, and this is stored durably. `lost`: this process no longer has the delivery, because its lease
 * or claim ran out or was released.
 */
type DeliverResult = 'done' | 'lost'
/** Sends one delivery, ends it without a request, or parks it. */
export type Deliver = (ref: DeliveryRef, origin: Origin) => Promise<DeliverResult>

interface DeliverDeps extends RecordAttemptDeps {
  readonly keyring: Pick<Keyring, 'cached' | 'vault'>
  readonly webhookCache: WebhookCache
  readonly slots: Slots
  readonly schedule: Schedule
  readonly sender: Sender
  /** Seconds between the attempts of webhooks without their own list. */
  readonly retryDelays: readonly number[]
  readonly metrics: DispatchMetrics
  /** Milliseconds since 1970. */
  now(): number
  /** Returns a random number in [0, 1). */
  random(): number
}

/** Creates the function that acquires a slot, sends the request and records the attempt (steps 4 and 5 of "The way of a message" in README.md). */
export const createDeliverer =
  (deps: DeliverDeps): Deliver =>
  async (ref, origin) => {
    const { webhookCache, slots } = deps
    // A consumer often repairs the webhook just before a replay. So the first attempt of a replay uses the present state of the webhook.
    if (ref.chain > 1 && ref.attempt === 1) await webhookCache.refresh()
    else await webhookCache.refreshIfOld()
    if (knownWebhook(deps, ref) === null) return park(deps, ref, origin)
    const queuedAt = deps.now()
    const slot = await slots.acquire(ref.webhook, ref.tenant, { fromTable: origin.fromTable, bytes: origin.sealedBody?.length ?? 0 })
    if (slot === 'parked') return park(deps, ref, origin)
    try {
      await webhookCache.refreshIfOld() // The cache may be old, because the wait for a slot can be long.
      const webhook = knownWebhook(deps, ref)
      const waited = waitedSince(origin, queuedAt, deps.now())
      return await (webhook === null ? park(deps, ref, origin) : sendOrEnd(deps, { ref, origin, webhook, waited }, slot))
    } finally {
      slot.release() // mutation: slot-not-released
    }
  }

/** A delivery and the webhook that it goes to. */
interface Delivery {
  readonly ref: DeliveryRef
  readonly origin: Origin
  readonly webhook: CachedWebhook
  /** The time since which the delivery waited for a slot, as the event of the attempt keeps it. */
  readonly waited: { readonly waited_since?: string }
}

/** Shorter waits for a slot (ms) are not recorded. */
const shownWaitMs = 1_000
/** Returns since when a delivery has waited for a slot: since it was parked, or else since it was queued in memory. */
function waitedSince({ parked_at }: Origin, queuedAt: number, now: number): Delivery['waited'] {
  if (parked_at !== null) return { waited_since: parked_at }
  return now - queuedAt < shownWaitMs ? {} : { waited_since: new Date(queuedAt).toISOString() }
}

/** Returns the webhook, or null if the delivery has to wait: the webhook is unknown, or its tenant is suspended. */
function knownWebhook({ webhookCache }: DeliverDeps, ref: DeliveryRef): CachedWebhook | null {
  const webhook = webhookCache.get(ref.webhook) // mutation: unknown-webhook-discards
  return webhook === undefined || webhookCache.isSuspended(ref.tenant) ? null : webhook
}

/** Parks a delivery that came from the bus. A delivery from the table has a row already, so only its claim is released. */
async function park({ schedule, slots, metrics, log }: DeliverDeps, ref: DeliveryRef, origin: Origin): Promise<DeliverResult> {
  if (origin.fromTable) {
    await schedule.release([ref])
    return 'lost'
  }
  metrics.parked.inc()
  slots.markParked(ref.webhook, ref.tenant)
  await untilDone(() => step('schedule.park', () => schedule.park(ref)), {
    onError: (error, delayMs) => log.warn({ error, delayMs }, 'delivery.park_failed'),
  })
  return 'done'
}

/** Sends the request and records the attempt. A delivery that cannot be sent ends without a request. */
async function sendOrEnd(deps: DeliverDeps, delivery: Delivery, slot: Slot): Promise<DeliverResult> {
  const { ref, origin, webhook } = delivery
  if (webhook.state !== 'active') return discard(deps, delivery)
  if (hasExpired(deps, delivery)) return deadLetter(deps, delivery, 'expired')
  if (origin.sealedBody === null) return deadLetter(deps, delivery, 'payload_expired')
  if (isErased(origin.sealedBody)) return deadLetter(deps, delivery, 'payload_erased') // mutation: erased-as-unreadable
  const opened = await open(deps, ref, origin.sealedBody)
  if (typeof opened === 'string') return deadLetter(deps, delivery, opened)
  const { vault, body } = opened
  const now = deps.now()
  const time = timeOf(now)
  // These headers differ for each request. `send.ts` adds those that are the same for all requests, and `http-client/request.ts` those of HTTP.
  const headers = { ...signatureHeaders(webhook.signingKeys(now), ref.message, body, now), ...attemptHeaders(ref) }
  if (!origin.isOwned()) return 'lost'
  const response = await step('delivery.post', () => deps.sender.post(webhook.callback_url, headers, body))
  slot.responded({ ok: outcomeOf(response.code) === 'success', duration_ms: response.duration_ms })
  await recordResponse(deps, delivery, response, time, vault)
  return 'done'
}

/** Returns whether the delivery was parked for longer than its `parkingTime`. */
function hasExpired({ retryDelays, now }: DeliverDeps, { origin, webhook }: Delivery): boolean {
  if (origin.parked_at === null) return false
  return now() - Date.parse(origin.parked_at) > parkingTime(webhook.retry_delays ?? retryDelays) * 1_000
}

/** Returns the body that the receiver gets, or why there is none: the tenant was erased, or the sealed bytes were changed (with a log line). */
async function open(
  { keyring, log }: DeliverDeps,
  { tenant, message, delivery }: DeliveryRef,
  sealedBody: Buffer,
): Promise<{ vault: Vault; body: Buffer } | 'payload_erased' | 'payload_unreadable'> {
  try {
    const vault = keyring.cached(tenant) ?? (await keyring.vault(tenant))
    return { vault, body: openBody(vault, tenant, message, sealedBody) }
  } catch (error) {
    if (error instanceof KeyDestroyed) return 'payload_erased'
    if (!(error instanceof SealBroken)) throw error
    log.error({ error, delivery, message }, 'delivery.payload_unreadable')
    return 'payload_unreadable'
  }
}

async function discard(deps: DeliverDeps, { ref, origin, webhook }: Delivery): Promise<DeliverResult> {
  const reason = webhook.state === 'deleted' ? 'webhook_deleted' : 'webhook_inactive'
  countAttempt(deps, 'DeliveryDiscarded', reason)
  const facts = { webhook_revision: webhook.revision, reason } as const
  await recordAttempt(deps, { ref, time: timeOf(deps.now()), type: 'DeliveryDiscarded', facts, vault: null }, origin)
  return 'done'
}

/** Ends a delivery as a dead letter, without a request. */
async function deadLetter(deps: DeliverDeps, { ref, origin, webhook, waited }: Delivery, reason: string): Promise<DeliverResult> {
  countAttempt(deps, 'DeliveryDeadLettered', reason)
  deps.log.info({ delivery: ref.delivery, webhook: ref.webhook, reason }, 'delivery.dead_lettered')
  const facts = { webhook_revision: webhook.revision, code: null, duration_ms: 0, address: null, reason, response: null, ...waited }
  await recordAttempt(deps, { ref, time: timeOf(deps.now()), type: 'DeliveryDeadLettered', facts, vault: null }, origin)
  return 'done'
}

/** Counts an attempt under the words that the API uses for it. */
function countAttempt({ metrics }: Pick<DeliverDeps, 'metrics'>, type: AttemptEventType, reason: string | null): void {
  metrics.attempts.inc({ outcome: statusOf[type] })
  if (reason !== null) metrics.failures.inc({ reason })
}

const timeOf = (now: number): string => new Date(now).toISOString()

/** Decides from the response how the attempt ended, records the attempt, and reports it to metrics and log. */
async function recordResponse(
  deps: DeliverDeps,
  { ref, origin, webhook, waited }: Delivery,
  response: ReceiverResponse,
  time: string,
  vault: Vault,
): Promise<void> {
  const { retryDelays, metrics, log, now, random } = deps
  const { code, duration_ms, address } = response
  const outcome = outcomeOf(code)
  const isSuccess = outcome === 'success'
  const retryAfter = parseRetryAfter(response.retryAfter, now())
  const delay_seconds = outcome === 'transient' ? nextDelay(webhook.retry_delays ?? retryDelays, ref.attempt, retryAfter, random()) : null
  const reason = isSuccess ? null : (response.reason ?? `http_${code}`)
  const responseBytes = response.body.length === 0 ? null : response.body.toString('base64')
  const detail = response.reason_detail === null ? {} : { reason_detail: response.reason_detail }
  const headers = keptHeaders(response.fields, isSuccess)
  const facts = {
    ...{ webhook_revision: webhook.revision, code, duration_ms, address, reason, ...detail, response: responseBytes, ...waited },
    ...(headers === null ? {} : { response_headers: headers }),
    ...(response.timings === null ? {} : { timings: response.timings }),
  }
  const attempt = { ref, time, vault }
  const type = isSuccess ? 'DeliverySucceeded' : delay_seconds === null ? 'DeliveryDeadLettered' : 'DeliveryFailed'
  if (type === 'DeliveryFailed') await recordAttempt(deps, { ...attempt, type, facts: { ...facts, delay_seconds: delay_seconds! } }, origin)
  else await recordAttempt(deps, { ...attempt, type, facts }, origin)
  countAttempt(deps, type, reason)
  metrics.duration.observe(duration_ms / 1_000)
  if (ref.chain === 1 && ref.attempt === 1)
    metrics.firstAttempt.observe(Math.max(0, Date.parse(time) - Date.parse(ref.accepted_at)) / 1_000)
  const { delivery, message, webhook: id, chain, attempt: number } = ref
  const logFields = { delivery, message, webhook: id, origin: webhook.urlOrigin, chain, attempt: number }
  log[isSuccess ? 'debug' : 'info'](
    { ...logFields, outcome: type, code, reason, ...detail, duration_ms, delay_seconds },
    'delivery.attempted',
  )
}
