import { randomUUID } from 'node:crypto'
import type { AttemptEventType, DeliveryEvents } from '../events/delivery.ts'
import type { Metadata, NewEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import { type DeliveryRef, deliveryEventRefOf } from '../events/refs.ts'
import { openBody } from '../events/sealed-body.ts'
import { sealEvent } from '../events/sealed-fields.ts'
import { attemptsStream } from '../events/streams.ts'
import { KeyDestroyed, type Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { step } from '../lib/points.ts'
import { untilDone } from '../lib/retry.ts'
import { SealBroken, type Vault } from '../lib/seal.ts'
import { EventRefused, type EventStore, EventTooLarge } from '../ports/event-store.ts'
import { classify } from './classify.ts'
import type { DispatchMetrics } from './metrics.ts'
import { nextDelay, parkingTime, parseRetryAfter } from './retry-policy.ts'
import type { Schedule } from './schedule.ts'
import type { ReceiverResponse, Sender } from './send.ts'
import { signatureHeaders } from './sign.ts'
import type { Slots } from './slots.ts'
import type { Target, WebhookCache } from './webhook-cache.ts'

/** Where a delivery in hand comes from. */
export interface Origin {
  /** It has a row in `scheduled_deliveries` that this process has claimed; else it comes from the bus. */
  readonly fromTable: boolean
  /** When it was parked (RFC 3339), or null. */
  readonly parked_at: string | null
  /** The sealed body, or null when it has expired. */
  readonly sealedBody: Buffer | null
  /** Whether the lease or claim still runs, asked just before the request leaves. */
  held(): boolean
}
/** `lost`: it is not ours any more, and whoever has it now goes on. */
export type Delivered = 'done' | 'lost'

export interface DeliverDeps {
  readonly store: EventStore
  readonly keyring: Keyring
  readonly copy: WebhookCache
  readonly slots: Slots
  readonly schedule: Schedule
  readonly sender: Sender
  readonly retryDelays: readonly number[]
  readonly metrics: DispatchMetrics
  readonly log: Log
  /** Milliseconds. */
  now(): number
  random(): number
}

type Rest<T extends AttemptEventType> = Omit<DeliveryEvents[T], keyof DeliveryRef>
/** Made before the request, and kept through retried appends. */
interface Made {
  readonly id: EventId
  readonly time: string
}

/** Takes one delivery as far as it goes now: attempted and appended, or parked. Resolves only when that is durable. */
export function createDeliverer(deps: DeliverDeps) {
  const { store, keyring, copy, slots, schedule, sender, retryDelays, metrics, log, now, random } = deps

  const aside = async (owed: DeliveryRef, origin: Origin): Promise<Delivered> => {
    if (origin.fromTable) {
      await schedule.release([owed])
      return 'lost'
    }
    metrics.parked.inc()
    slots.markParked(owed.webhook, owed.tenant)
    await untilDone(() => step('schedule.park', () => schedule.park(owed)), {
      onError: (error, delayMs) => log.warn({ error, delayMs }, 'delivery.park_failed'),
    })
    return 'done'
  }
  /** A deleted or inactive webhook discards; an unknown one or a suspended tenant waits. */
  const targetOf = (owed: DeliveryRef): Target | null => {
    const target = copy.get(owed.webhook)
    return target === undefined || copy.isSuspended(owed.tenant) ? null : target
  }

  /** Appends the event of an attempt, however long that takes, and removes the row that it came from. */
  const record = async <T extends AttemptEventType>(
    owed: DeliveryRef,
    origin: Origin,
    vault: Vault | null,
    made: Made,
    type: T,
    rest: Rest<T>,
  ) => {
    const { tenant, webhook, delivery, chain, attempt } = owed
    const metadata: Omit<Metadata, 'schema'> = {
      actor: 'system:dispatcher',
      tenant,
      time: made.time,
      $correlationId: owed.correlation_id,
      $causationId: null,
    }
    const stream = attemptsStream(webhook, made.time)
    const data = { ...deliveryEventRefOf(owed), ...rest }
    const unsealed = { id: made.id, type, data, metadata }
    let stored: NewEvent = sealEvent(vault, stream, unsealed)
    const append = () => store.append(stream, [stored], 'any', { patient: true })
    await untilDone(() => step('delivery.append', append), {
      onError(error, delayMs) {
        log.warn({ error, delayMs, delivery, chain, attempt }, 'attempt.append_failed')
        // The receiver chooses these bytes: they never cost the record of its attempt.
        if (error instanceof EventRefused || error instanceof EventTooLarge)
          stored = sealEvent(null, stream, { ...unsealed, data: { ...data, response: null } })
      },
    })
    if (origin.fromTable)
      await untilDone(() => step('schedule.done', () => schedule.done(owed)), {
        onError: (error, delayMs) => log.warn({ error, delayMs, delivery }, 'schedule.done_failed'),
      })
  }

  const conclude = async (owed: DeliveryRef, origin: Origin, vault: Vault, target: Target, made: Made, answer: ReceiverResponse) => {
    const verdict = classify(answer.code)
    const delays = target.retry_delays ?? retryDelays
    const delay = verdict === 'transient' ? nextDelay(delays, owed.attempt, parseRetryAfter(answer.retryAfter, now()), random()) : null
    const facts = {
      webhook_revision: target.revision,
      code: answer.code,
      duration_ms: answer.duration_ms,
      reason: verdict === 'success' ? null : (answer.reason ?? `http_${answer.code}`),
      response: answer.body.length === 0 ? null : answer.body.toString('base64'),
    }
    const type = verdict === 'success' ? 'DeliverySucceeded' : delay === null ? 'DeliveryDeadLettered' : 'DeliveryFailed'
    if (delay === null) await record(owed, origin, vault, made, verdict === 'success' ? 'DeliverySucceeded' : 'DeliveryDeadLettered', facts)
    else await record(owed, origin, vault, made, 'DeliveryFailed', { ...facts, delay_seconds: delay })
    metrics.attempts.inc({ outcome: type })
    metrics.duration.observe(answer.duration_ms / 1_000)
    const { webhook, delivery, message, chain, attempt } = owed
    const { code, reason } = facts
    const fields = {
      delivery,
      message,
      webhook,
      origin: target.origin,
      chain,
      attempt,
      outcome: type,
      code,
      reason,
      duration_ms: answer.duration_ms,
      delay_seconds: delay,
    }
    if (verdict === 'success') log.debug(fields, 'delivery.attempted')
    else log.info(fields, 'delivery.attempted')
  }
  /** An end without a request. */
  const die = async (owed: DeliveryRef, origin: Origin, target: Target, reason: string) => {
    metrics.attempts.inc({ outcome: 'DeliveryDeadLettered' })
    log.info({ delivery: owed.delivery, webhook: owed.webhook, reason }, 'delivery.dead_lettered')
    const facts = { webhook_revision: target.revision, code: null, duration_ms: 0, reason, response: null }
    await record(owed, origin, null, make(), 'DeliveryDeadLettered', facts)
  }
  const make = (): Made => ({ id: randomUUID() as EventId, time: new Date(now()).toISOString() })

  /** The body as the receiver gets it, or null (set aside visibly) when the tenant's key is gone or the bytes are not what was sealed. */
  const open = async (owed: DeliveryRef, sealedBody: Buffer): Promise<{ vault: Vault; body: Buffer } | null> => {
    try {
      const vault = keyring.cached(owed.tenant) ?? (await keyring.vault(owed.tenant))
      return { vault, body: openBody(vault, owed.tenant, owed.message, sealedBody) }
    } catch (error) {
      if (!(error instanceof SealBroken || error instanceof KeyDestroyed)) throw error
      log.error({ error, delivery: owed.delivery, message: owed.message }, 'delivery.payload_unreadable')
      return null
    }
  }

  return async function deliver(owed: DeliveryRef, origin: Origin): Promise<Delivered> {
    // Who replays has often just mended the webhook: a replay is sent to it as it is now, not as it was a second ago.
    if (owed.chain > 1 && owed.attempt === 1) await copy.refresh()
    else await copy.freshen()
    if (targetOf(owed) === null) return aside(owed, origin)
    const slot = await slots.acquire(owed.webhook, owed.tenant, origin)
    if (slot === 'parked') return aside(owed, origin)
    try {
      await copy.freshen() // it may have waited for the slot
      const target = targetOf(owed)
      if (target === null) return await aside(owed, origin)
      if (target.state !== 'active') {
        const reason = target.state === 'deleted' ? 'webhook_deleted' : 'webhook_inactive'
        metrics.attempts.inc({ outcome: 'DeliveryDiscarded' })
        await record(owed, origin, null, make(), 'DeliveryDiscarded', { webhook_revision: target.revision, reason })
        return 'done'
      }
      const delays = target.retry_delays ?? retryDelays
      const expired = origin.parked_at !== null && now() - Date.parse(origin.parked_at) > parkingTime(delays) * 1_000
      if (expired || origin.sealedBody === null) {
        await die(owed, origin, target, expired ? 'expired' : 'payload_expired')
        return 'done'
      }
      const opened = await open(owed, origin.sealedBody)
      if (opened === null) {
        await die(owed, origin, target, 'payload_unreadable')
        return 'done'
      }
      // The event's id and stream are fixed before the request: a request repeated after a crash is recorded as what it is.
      const made = make()
      const at = now()
      const headers = { ...signatureHeaders(target.signingKeys(at), owed.message, opened.body, at), 'kolbak-attempt': String(owed.attempt) }
      if (!origin.held()) return 'lost'
      const answer = await step('delivery.post', () => sender.post(target.callback_url, headers, opened.body))
      slot.responded({ ok: classify(answer.code) === 'success', duration_ms: answer.duration_ms })
      await conclude(owed, origin, opened.vault, target, made, answer)
      return 'done'
    } finally {
      slot.release()
    }
  }
}
export type Deliver = ReturnType<typeof createDeliverer>
