import { type AuditedFamily, auditedFamilies } from '../../projections/audit.ts'
import { instant, timestamp, uuid } from './common.ts'
import { shownActor } from './history.ts'
import { type JsonSchema, named, object } from './json-schema.ts'

const correlation_id: JsonSchema = {
  type: 'string',
  description: 'The `x-request-id` of the request that caused it, or what a process manager carried on.',
}
export const auditedEvent = named(
  'AuditedEvent',
  object({
    event_id: uuid,
    time: timestamp,
    family: { enum: auditedFamilies },
    id: { type: 'string', description: 'Of the tenant, key or webhook.' },
    revision: { type: 'integer', minimum: 0 },
    type: { type: 'string', examples: ['WebhookChanged'] },
    actor: shownActor,
    correlation_id,
    data: { type: 'object', description: 'What the event says. Secrets and key values show as `[sealed]`.' },
  }),
)

export interface AuditFilter {
  readonly since?: string
  readonly until?: string
  readonly family?: AuditedFamily
  readonly actor?: string
}
export const auditQuery = object<AuditFilter>(
  {
    since: { ...instant, description: 'At or after.' },
    until: { ...instant, description: 'Before.' },
    family: { enum: auditedFamilies },
    actor: {
      type: 'string',
      maxLength: 300,
      pattern: '^(?:client|key|system):[!-~]+$',
      'x-rule': 'client:, key: or system: and an id',
      examples: ['key:01JQNV4T0M2ZB7V6RWKD5YQ3XE'],
    },
  },
  ['since', 'until', 'family', 'actor'],
)
