import { auditedFamilies } from '../../projections/audit.ts'
import { correlation_id, instant, timestamp, uuid } from './common.ts'
import { shownActor } from './history.ts'
import { exampleOf, type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

const shownFamilies = [...auditedFamilies, 'access'] as const
const shownMetadata = object({
  schema: nullable({ type: 'integer', description: 'The number of the schema of `data` as it is stored.', examples: [1] }),
  app: nullable({ type: 'string', description: 'The version of Kolbak that stored the event.', examples: ['0.2.0'] }),
  request_id: nullable({
    type: 'string',
    description: 'The `Kolbak-Request-Id` of the request. No caller can choose it.',
    examples: ['01M8QZ3K5T7W9Y1B3D5F7H9J2M'],
  }),
  causation_id: nullable({ type: 'string', description: 'The event to which a part of Kolbak reacted.', examples: [null] }),
  operation: nullable({ type: 'string', description: 'The operation id of the request.', examples: ['changeWebhook'] }),
  auth: {
    type: ['object', 'null'],
    description: 'The credential of the request: its kind, the generation of the secret of the client, and the id (`jti`) of the token.',
    additionalProperties: true,
    examples: [{ credential: 'token', generation: 1, token: '7d0f6c1e-8a55-4a35-9f3e-0d9c1a3b5e77' }],
  },
  origin: {
    type: ['object', 'null'],
    description: 'The address of the caller and its `User-Agent`, which the caller chooses.',
    additionalProperties: true,
    examples: [{ address: '203.0.113.7', agent: 'curl/8.5.0' }],
  },
  reason: nullable({
    type: 'string',
    description: 'The words of the caller in `Kolbak-Reason`.',
    examples: ['Ticket 4711: the receiver moved'],
  }),
  commits: {
    type: 'object',
    description: 'Commitments to the sealed values.',
    additionalProperties: { type: 'string' },
    examples: [{ callback_url: 'Q2pYVnd5b0Z1Y3JmT0R5d2F6aU5XcVRqT2V4a0hRZ2s' }],
  },
  prev: nullable({ type: 'string', description: 'The hash of the previous event of the resource.', examples: [null] }),
  mac: nullable({
    type: 'string',
    description: 'The MAC of the event under a key of the service.',
    examples: ['c2VlIGRvY3MvYXVkaXQubWQgZm9yIHRoZSBNQUM4'],
  }),
})
/** The columns of the audit log as CSV. */
export const auditColumns = [
  'index',
  'event_id',
  'time',
  'family',
  'id',
  'revision',
  'type',
  'actor',
  'correlation_id',
  'request_id',
  'operation',
  'auth',
  'origin',
  'reason',
  'fault',
  'data',
] as const
export const accept: JsonSchema = {
  type: 'string',
  description: 'The type of the response: `application/x-ndjson` (by default) or `text/csv`.',
  examples: ['application/x-ndjson'],
}

const auditedEvent = named(
  'AuditedEvent',
  object(
    {
      index: { type: 'integer', minimum: 0, description: 'The place of the event in the audit log of the whole service.', examples: [41] },
      event_id: uuid,
      time: nullable(timestamp),
      family: { ...oneOf(shownFamilies), examples: ['webhook'] },
      id: { type: 'string', description: 'The id of the tenant, key or webhook.', examples: ['01JQNV4T0M2ZB7V6RWKD5YQ3XE'] },
      revision: { type: 'integer', minimum: 0, examples: [1] },
      type: { type: 'string', examples: ['WebhookChanged'] },
      actor: shownActor,
      correlation_id: nullable(correlation_id),
      fault: {
        ...oneOf(['forged', 'altered', 'not_readable']),
        description:
          'Set only if the event is not what Kolbak has written (`forged` without a MAC, `altered` with a MAC or a leaf that does not fit), or if a newer version wrote it. ' +
          'A forged or altered event has no effect.',
        examples: ['altered'],
      },
      metadata: shownMetadata,
      data: {
        type: 'object',
        additionalProperties: true,
        description: 'The data of the event. Secrets and key values are shown as `[sealed]`.',
        examples: [{ id: '01JQNV4T0M2ZB7V6RWKD5YQ3XE', event: 'order.*' }],
      },
    },
    ['fault'],
  ),
)

export const logHead = named(
  'LogHead',
  object({
    origin: { type: 'string', description: 'The name of the audit log.', examples: ['kolbak/01JQNV4T0M2ZB7V6RWKD5YQ3XE'] },
    size: { type: 'integer', minimum: 1, description: 'The number of events of the whole service that the head covers.', examples: [44] },
    root: {
      type: 'string',
      description: 'The root of their Merkle tree in base64.',
      examples: ['bpMJusauz3CanCkyZcChiN/3EQV3i9olggsT6CMXstc='],
    },
    note: {
      type: 'string',
      description:
        'The head as a signed note (https://c2sp.org/signed-note). Keep it: it shows later that the log still contains these events.',
      examples: [
        'kolbak/01JQNV4T0M2ZB7V6RWKD5YQ3XE\n44\nbpMJusauz3CanCkyZcChiN/3EQV3i9olggsT6CMXstc=\n\n— kolbak/01JQNV4T0M2ZB7V6RWKD5YQ3XE lTG2CJVNem...\n',
      ],
    },
    key: {
      type: 'string',
      description: 'The key that verifies the signature: name, key id and Ed25519 key.',
      examples: ['kolbak/01JQNV4T0M2ZB7V6RWKD5YQ3XE+9531b608+AZ+vCdqICSWF/3gxum3fjk7Kwjo2d1d7KMq3y8o9Vbl/'],
    },
    signed_at: timestamp,
    cosigned: {
      type: ['string', 'null'],
      description:
        'The newest head that a witness has signed, as a signed note with the signatures of the witnesses (https://c2sp.org/tlog-cosignature). Null if there is none.',
      examples: [null],
    },
  }),
)

/** The stream is text for generators of clients, because OpenAPI 3.1 cannot say that each of its lines is JSON. */
export const auditLines: JsonSchema = {
  type: 'string',
  description: 'Lines of JSON, each of the schema `AuditedEvent`, and a last line with `end` or `error`.',
  'x-line-schema': auditedEvent,
  examples: [`${JSON.stringify(exampleOf(auditedEvent))}\n`],
}

export interface AuditFilter {
  readonly after?: number
  readonly id?: string
  readonly type?: string
  readonly correlation?: string
  readonly request?: string
  readonly since?: string
  readonly until?: string
  readonly family?: (typeof shownFamilies)[number]
  readonly actor?: string
}
const filterText = (pattern: string, description: string, example: string): JsonSchema => ({
  type: 'string',
  pattern,
  description,
  examples: [example],
})
export const auditQuery = object<AuditFilter>(
  {
    after: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Only events whose index is greater.',
      examples: [41],
    },
    since: { ...instant, description: 'Events at this time or later.' },
    until: { ...instant, description: 'Events before this time.' },
    family: {
      ...oneOf(shownFamilies),
      description: 'Only changes of this kind of resource, or with `access` who read the audit log or the past, and who was refused.',
    },
    id: filterText('^[0-9A-HJKMNP-TV-Z]{26}$', 'Only changes of this tenant, key or webhook.', '01JQNV4T0M2ZB7V6RWKD5YQ3XE'),
    type: filterText('^[A-Za-z]{1,100}$', 'Only events of this type.', 'WebhookChanged'),
    correlation: filterText('^[A-Za-z0-9_.:-]{1,128}$', 'Only events with this `x-request-id`.', '7d0f6c1e-8a55-4a35-9f3e-0d9c1a3b5e77'),
    request: filterText(
      '^[0-9A-HJKMNP-TV-Z]{26}$',
      'Only events of the request with this `Kolbak-Request-Id`.',
      '01M8QZ3K5T7W9Y1B3D5F7H9J2M',
    ),
    actor: {
      type: 'string',
      maxLength: 300,
      pattern: '^(?:client|key|system):[!-~]+$',
      'x-rule': 'client:, key: or system: and an id',
      description: 'Only changes by this author.',
      examples: ['key:01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
    },
  },
  ['after', 'since', 'until', 'family', 'id', 'type', 'correlation', 'request', 'actor'],
)
