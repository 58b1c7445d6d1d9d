import { type AuditedFamily, auditedFamilies } from '../../projections/audit.ts'
import { correlation_id, instant, timestamp, uuid } from './common.ts'
import { shownActor } from './history.ts'
import { exampleOf, type JsonSchema, named, object, oneOf } from './json-schema.ts'

const auditedEvent = named(
  'AuditedEvent',
  object({
    event_id: uuid,
    time: timestamp,
    family: { ...oneOf(auditedFamilies), examples: ['webhook'] },
    id: { type: 'string', description: 'The id of the tenant, key or webhook.', examples: ['01JQNV4T0M2ZB7V6RWKD5YQ3XE'] },
    revision: { type: 'integer', minimum: 0, examples: [1] },
    type: { type: 'string', examples: ['WebhookChanged'] },
    actor: shownActor,
    correlation_id,
    data: {
      type: 'object',
      additionalProperties: true,
      description: 'The data of the event. Secrets and key values are shown as `[sealed]`.',
      examples: [{ id: '01JQNV4T0M2ZB7V6RWKD5YQ3XE', event: 'order.*' }],
    },
  }),
)

/** The stream is text for generators of clients, because OpenAPI 3.1 cannot say that each of its lines is JSON. */
export const auditLines: JsonSchema = {
  type: 'string',
  description: 'Lines of JSON, each of the schema `AuditedEvent`.',
  'x-line-schema': auditedEvent,
  examples: [`${JSON.stringify(exampleOf(auditedEvent))}\n`],
}

interface AuditFilter {
  readonly since?: string
  readonly until?: string
  readonly family?: AuditedFamily
  readonly actor?: string
}
export const auditQuery = object<AuditFilter>(
  {
    since: { ...instant, description: 'Events at this time or later.' },
    until: { ...instant, description: 'Events before this time.' },
    family: { ...oneOf(auditedFamilies), description: 'Only changes of this kind of resource.' },
    actor: {
      type: 'string',
      maxLength: 300,
      pattern: '^(?:client|key|system):[!-~]+$',
      'x-rule': 'client:, key: or system: and an id',
      description: 'Only changes by this author.',
      examples: ['key:01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
    },
  },
  ['since', 'until', 'family', 'actor'],
)
