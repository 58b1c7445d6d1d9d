import type { NewEvent } from './envelope.ts'
import type { StreamName } from './streams.ts'

/**
 * The fields of each event type that are stored sealed under the tenant's data key, so that destroying that key erases
 * them everywhere, backups included.
 */
export const sealedFields: Readonly<Record<string, readonly string[]>> = {
  KeyCreated: ['key', 'name', 'description'],
  KeyChanged: ['name', 'description'],
  KeyRotated: ['key'],
  WebhookCreated: ['callback_url', 'description', 'secret'],
  WebhookChanged: ['callback_url', 'description'],
  WebhookSecretRotated: ['secret'],
  DeliverySucceeded: ['response'],
  DeliveryFailed: ['response'],
  DeliveryDeadLettered: ['response'],
}

/** The AAD of a sealed field, in its event and in every read model that it is copied to. */
export const fieldAad = (tenant: string, aggregate: string, field: string): string[] => ['event', tenant, aggregate, field]
/** The AAD of a message's payload, on the bus and in the archive. */
export const payloadAad = (tenant: string, message: string): string[] => ['payload', tenant, message]

/** A delivery's events are bound to the delivery, those of a command stream to its aggregate. */
function aggregateOf(event: NewEvent, stream: StreamName): string {
  const data: { delivery?: unknown } = event.data
  return typeof data.delivery === 'string' ? data.delivery : stream.slice(stream.indexOf('-') + 1)
}

/** Rewrites the sealed fields of an event; absent and null values stay as they are. */
function mapSealedFields<E extends NewEvent>(event: E, stream: StreamName, convert: (aad: string[], value: string) => string): E {
  const fields = sealedFields[event.type]
  if (fields === undefined) return event
  const aggregate = aggregateOf(event, stream)
  const data: Record<string, unknown> = { ...event.data }
  for (const field of fields) {
    const value = data[field]
    if (value === undefined || value === null) continue
    // Anything else would be stored in the clear without a word.
    if (typeof value !== 'string') throw new TypeError(`${event.type}.${field} is to be sealed and is no text`)
    data[field] = convert(fieldAad(event.metadata.tenant, aggregate, field), value)
  }
  return { ...event, data }
}

interface TextSeal {
  sealText(aad: readonly string[], plain: string): string
  openText(aad: readonly string[], sealed: string): string
}
/** Seals the fields that `sealedFields` names for the event's type. */
export const sealEvent = <E extends NewEvent>(vault: TextSeal, stream: StreamName, event: E): E =>
  mapSealedFields(event, stream, (aad, value) => vault.sealText(aad, value))
/** Opens them again. */
export const openEvent = <E extends NewEvent>(vault: TextSeal, stream: StreamName, event: E): E =>
  mapSealedFields(event, stream, (aad, value) => vault.openText(aad, value))
