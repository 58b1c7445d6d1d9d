import { erasureId } from '../../src/events/erasure.ts'
import type { ClientId, DeliveryId, EventId, KeyId, MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import { logStream } from '../../src/events/log.ts'
import type { Events, EventType } from '../../src/events/schema.ts'
import {
  accessStream,
  attemptsStream,
  erasureStream,
  keyStream,
  routingStream,
  type StreamName,
  tenantStream,
  webhookStream,
} from '../../src/events/streams.ts'

const tenant = '01JZZZZZZZZZZZZZZZZZZZZZT1' as TenantId
const key = '01JZZZZZZZZZZZZZZZZZZZZZK1' as KeyId
const webhook = '01JZZZZZZZZZZZZZZZZZZZZZW1' as WebhookId
const client_id = 'client_of_samples' as ClientId
const accepted_at = '2026-03-01T08:00:00.000Z'
const until = '2026-03-02T08:00:00.000Z'
const message = {
  tenant,
  message: 'message_1' as MessageId,
  place: 'bus/0/17/0' as Place,
  fingerprint: 'f'.repeat(64),
  event: 'order.created',
  accepted_at,
}
const delivery = {
  ...message,
  webhook,
  webhook_revision: 3,
  delivery: '5b9c1c39-7d3c-5d63-8c0c-0a5a3f2f9a11' as DeliveryId,
  chain: 1,
  attempt: 1,
}
const outcome = {
  code: 503,
  duration_ms: 12.5,
  address: '203.0.113.7',
  reason: 'http_503',
  reason_detail: 'A sentence.',
  response: 'cmVjZWl2ZXIgYW5zd2VyZWQ=',
  response_headers: '{"retry-after":"5"}',
  timings: { dns_ms: 1, connect_ms: 2, tls_ms: 3, first_byte_ms: 4 },
  waited_since: accepted_at,
}

/**
 * The data of one event of every type, with a value in every field. In this order, the events of a stream are a possible history of one aggregate.
 */
export const sampleData: { readonly [T in EventType]: Required<Events[T]> } = {
  TenantRegistered: { id: tenant, name: 'Tenant of samples' },
  TenantSettingsChanged: { id: tenant, limits: { webhooks: 7, events_per_second: 70, requests_per_second: 700 } },
  TenantSuspended: { id: tenant },
  TenantResumed: { id: tenant },
  ClientIssued: { id: tenant, client_id, name: 'Client of samples', scopes: ['read:events', 'read:audit'], secret_hmac: 'a'.repeat(64) },
  ClientSecretRotated: { id: tenant, client_id, secret_hmac: 'b'.repeat(64), previous_secret_until: until, generation: 2 },
  ClientRevoked: { id: tenant, client_id, generation: 3 },
  KeyCreated: { id: key, tenant, key: 'KEYVALUE0001', name: 'Key name', description: 'Key description', scopes: ['read:webhooks'] },
  KeyChanged: { id: key, name: 'Other key name', description: 'Other key description', scopes: ['read:webhooks', 'write:webhooks'] },
  KeyRotated: { id: key, key: 'KEYVALUE0002', previous_key_until: until },
  KeyDeleted: { id: key, webhooks: 'deactivate' },
  WebhookCreated: {
    id: webhook,
    tenant,
    key_id: key,
    callback_url: 'https://consumer.example.com/first',
    event: 'order.created',
    description: 'Webhook description',
    is_active: true,
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    retry_delays: [5, 300, 1_800],
  },
  WebhookChanged: {
    id: webhook,
    callback_url: 'https://consumer.example.com/second',
    event: 'order.*',
    description: 'Other webhook description',
    retry_delays: [0.5],
  },
  WebhookSecretRotated: { id: webhook, secret: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', previous_secret_until: until },
  WebhookDeactivated: { id: webhook, reason: 'failing' },
  WebhookActivated: { id: webhook },
  WebhookDeleted: { id: webhook },
  LogStarted: { origin: 'kolbak/01JZZZZZZZZZZZZZZZZZZZZZL1', vkey: 'kolbak/01JZZZZZZZZZZZZZZZZZZZZZL1+00000000+AAAA' },
  BatchSealed: {
    of: 'deliveries',
    from: '00000000000000000001',
    through: '00000000000000000007',
    count: 5,
    root: 'AAAA',
    oldest_day: '20260301',
  },
  LossDeclared: { origin: 'kolbak/01JZZZZZZZZZZZZZZZZZZZZZL2', previous: 'a note', kept: 7, root: 'AAAA', reason: 'A disk broke.' },
  MessageRouted: {
    ...message,
    source: 'shop',
    event_time: accepted_at,
    webhooks: [webhook],
    part: 0,
    parts: 1,
    matched_at: '00000000000000000007',
    producer: { actor: 'client:client_of_samples', request_id: '01JZZZZZZZZZZZZZZZZZZZZZR1' },
  },
  MessageRejected: { ...message, reason: 'content_differs' },
  DeliveryFailed: { ...delivery, ...outcome, delay_seconds: 5.5 },
  DeliveryDeadLettered: { ...delivery, ...outcome, attempt: 2 },
  DeliveryDiscarded: { ...delivery, attempt: 2, reason: 'webhook_inactive' },
  DeliveryReplayed: { ...delivery, chain: 2, attempt: 0 },
  DeliverySucceeded: { ...delivery, ...outcome, chain: 2, code: 204, reason: null },
  MessagesRouted: {
    messages: ['message_2', 'message_3'].map((id, i) => ({
      ...{ message: id as MessageId, place: `bus/0/18/${i}` as Place, fingerprint: 'f'.repeat(64), event: 'order.created', accepted_at },
      ...{ source: 'shop', event_time: accepted_at, correlation_id: 'samples', webhooks: [webhook] },
      producer: { actor: 'client:client_of_samples', request_id: '01JZZZZZZZZZZZZZZZZZZZZZR1' } as const,
    })),
    matched_at: '00000000000000000007',
  },
  PayloadErasureAsked: message,
  PayloadErased: { tenant, message: message.message, place: message.place },
  AttemptMacsStarted: {},
  StreamsListed: { size: 7, tenants: 1, root: 'AAAA' },
  TenantHeld: { id: tenant, hold: { reason: 'A lawsuit', until } },
  TenantHoldReleased: { id: tenant },
  TenantErasureAsked: { id: tenant },
  TenantErased: { id: tenant },
  AuditRead: { url: '/v1/audit?family=key', lines: 7, origin: { address: '203.0.113.7', agent: 'curl/8.5.0' } },
  AccessDenied: { status: 403, code: 'insufficient_scope', count: 2, until, origin: { address: '203.0.113.7', agent: null } },
  TokenRefused: { client_id, code: 'invalid_client', count: 1, until, origin: { address: '203.0.113.7', agent: null } },
  AccessesOmitted: { count: 7, until },
  OperatorActed: {
    command: 'operate skip',
    arguments: { projection: 'webhooks', stream: 'webhook-01JZZZZZZZZZZZZZZZZZZZZZW1' },
    operator: { user: 'ada', host: 'db1' },
    outcome: 'done',
    code: null,
  },
}
export const sampleTypes = Object.keys(sampleData) as EventType[]

export const streamOf = (type: EventType): StreamName => {
  if (/^(Tenant|Client)/.test(type)) return tenantStream(tenant)
  if (/^Key/.test(type)) return keyStream(key)
  if (/^Webhook/.test(type)) return webhookStream(webhook)
  if (/^(Log|Batch|Loss|AttemptMacs|Streams|Operator)/.test(type)) return logStream
  if (/^Payload/.test(type)) return erasureStream(erasureId(message))
  if (/^(Audit|Access|Token)/.test(type)) return accessStream(tenant, accepted_at)
  return /^Message/.test(type) ? routingStream(tenant, accepted_at) : attemptsStream(webhook, accepted_at)
}

/** The sample of a type before it is sealed and stored. Its id is derived from its place in the list. */
export const sampleEvent = (type: EventType) => {
  const place = sampleTypes.indexOf(type)
  return {
    id: `00000000-0000-4000-8000-${String(place).padStart(12, '0')}` as EventId,
    type,
    data: sampleData[type],
    metadata: {
      actor: 'system:samples' as const,
      tenant,
      time: new Date(Date.parse(accepted_at) + place * 1_000).toISOString(),
      $correlationId: 'samples',
      $causationId: null,
    },
  }
}
