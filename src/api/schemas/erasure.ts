import { messageId, timestamp, ulid, uuid } from './common.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

const placesOfPayload = ['bus', 'responses', 'repeats', 'receivers', 'backups'] as const
const placesOfTenant = ['readable', 'receivers', 'backups'] as const
export interface Remainder<Place = (typeof placesOfPayload)[number]> {
  readonly where: Place
  readonly until: string | null
}
export type TenantRemainder = Remainder<(typeof placesOfTenant)[number]>

/** Describes what remains after an erasure. @param where describes the places */
const remainsIn = (places: readonly string[], where: string): JsonSchema => ({
  type: 'array',
  description: 'The places in which content may still be.',
  items: object({
    where: { ...oneOf(places), description: where, examples: ['backups'] },
    until: nullable({
      ...timestamp,
      description: 'The time until which the content is kept at the latest, or null if Kolbak does not know it.',
      examples: [null],
    }),
  }),
})
const asked = (what: string) => ({
  asked_at: { ...timestamp, description: `The time of the first request to erase ${what}.` },
  asked_event_id: { ...uuid, description: 'The event in the audit log that says who asked for the erasure, and why.' },
})
const erased = (what: string) => ({
  erased_at: nullable({ ...timestamp, description: `The time at which ${what}, or null while the erasure goes on.` }),
  erased_event_id: nullable({
    ...uuid,
    description: 'The event in the audit log that says that the erasure is complete. `kolbak audit prove` makes a certificate of it.',
  }),
})

export const payloadErasure = named(
  'PayloadErasure',
  object({
    id: { ...messageId, description: 'The id of the event.' },
    ...asked('the payload'),
    ...erased('the bytes were gone'),
    remains: remainsIn(
      placesOfPayload,
      '`bus`: the record on Kafka, which cannot be changed. `responses`: the first 4 KiB of what receivers responded. ' +
        '`repeats`: copies that the producer posted again under the same id. `receivers`: what was delivered already. `backups`: your backups.',
    ),
  }),
)

export const tenantErasure = named(
  'TenantErasure',
  object({
    id: { ...ulid, description: 'The id of the tenant.' },
    ...asked('the tenant'),
    ...erased('the data keys were destroyed'),
    remains: remainsIn(
      placesOfTenant,
      '`readable`: what is not sealed, such as names of tenants, clients and events, ids, times and statuses. ' +
        '`receivers`: what was delivered already. `backups`: backups of the data keys, together with the master key.',
    ),
  }),
)
