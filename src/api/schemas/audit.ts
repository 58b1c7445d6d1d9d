import { type AuditedFamily, auditedFamilies } from '../../projections/audit.ts'
import { correlation_id, instant, timestamp, uuid } from './common.ts'
import { shownActor } from './history.ts'
import { named, object } from './json-schema.ts'

export const auditedEvent = named(
  'AuditedEvent',
  object({
    event_id: uuid,
    time: timestamp,
    family: { enum: auditedFamilies },
    id: { type: 'string', description: 'The id of the tenant, key or webhook.' },
    revision: { type: 'integer', minimum: 0 },
    type: { type: 'string', examples: ['WebhookChanged'] },
    actor: shownActor,
    correlation_id,
    data: { type: 'object', description: 'The data of the event. Secrets and key values are shown as `[sealed]`.' },
  }),
)

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
