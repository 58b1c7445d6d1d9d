import { messageId, timestamp, uuid } from './common.ts'
import { named, nullable, object, oneOf } from './json-schema.ts'

const places = ['bus', 'responses', 'repeats', 'receivers', 'backups'] as const
export interface Remainder {
  readonly where: (typeof places)[number]
  readonly until: string | null
}

export const payloadErasure = named(
  'PayloadErasure',
  object({
    id: { ...messageId, description: 'The id of the event.' },
    asked_at: { ...timestamp, description: 'The time of the first request to erase the payload.' },
    asked_event_id: { ...uuid, description: 'The event in the audit log that says who asked for the erasure, and why.' },
    erased_at: nullable({ ...timestamp, description: 'The time at which the bytes were gone, or null while the erasure goes on.' }),
    erased_event_id: nullable({
      ...uuid,
      description: 'The event in the audit log that says that the bytes are gone. `kolbak audit prove` makes a certificate of it.',
    }),
    remains: {
      type: 'array',
      description: 'The places in which the content may still be.',
      items: object({
        where: {
          ...oneOf(places),
          description:
            '`bus`: the record on Kafka, which cannot be changed. `responses`: the first 4 KiB of what receivers responded. ' +
            '`repeats`: copies that the producer posted again under the same id. `receivers`: what was delivered already. `backups`: your backups.',
          examples: ['responses'],
        },
        until: nullable({
          ...timestamp,
          description: 'The time until which the content is kept at the latest, or null if Kolbak does not know it.',
        }),
      }),
    },
  }),
)
