import { type AccessEvents, accessEventFields } from './access.ts'
import { type DeliveryEvents, deliveryEventFields } from './delivery.ts'
import type { NewEvent } from './envelope.ts'
import { type ErasureEvents, erasureEventFields } from './erasure.ts'
import type { SealedAs, StoredAs } from './fields.ts'
import { type KeyEvents, keyEventFields } from './key.ts'
import { type LogEvents, logEventFields } from './log.ts'
import { type OperatorEvents, operatorEventFields } from './operator.ts'
import type { StreamName } from './streams.ts'
import { type TenantEvents, tenantEventFields } from './tenant.ts'
import { type WebhookEvents, webhookEventFields } from './webhook.ts'

/** The data of every event type. */
export interface Events
  extends TenantEvents,
    KeyEvents,
    WebhookEvents,
    LogEvents,
    OperatorEvents,
    ErasureEvents,
    AccessEvents,
    DeliveryEvents {}
export type EventType = keyof Events

/**
 * Turns the data of one schema into the data of the next. It gets the values as they are stored. A sealed value opens only under the name of its
 * field, so a sealed field must keep its name.
 */
type Upcaster = (data: Readonly<Record<string, unknown>>) => object
interface StoredShape {
  /** The way in which each field of the family's events is stored. */
  readonly fields: Readonly<Record<string, StoredAs>>
  /** The fields that are not stored in the clear. */
  readonly sealed: readonly (readonly [field: string, as: SealedAs])[]
  /** The number that events of this type get when they are stored. */
  readonly schema: number
  readonly upcasters: readonly Upcaster[]
  /** The fields that may be absent in a stored event, and the values that they then have. */
  readonly implied: readonly (readonly [field: string, impliedBy: Implied])[]
}
/** Returns the value of a field that is not stored: it follows from the name of the stream or from the metadata, or it is the usual value. */
type Implied = (stored: { readonly stream: StreamName; readonly metadata: NewEvent['metadata'] }) => unknown
/** Every change of a stored shape adds one function, which raises the number of the schema by one. */
const shape = <F extends StoredShape['fields']>(fields: F, ...upcasters: readonly Upcaster[]) => ({
  fields,
  sealed: Object.entries(fields).filter((field): field is [string, SealedAs] => field[1] !== 'clear'),
  schema: 1 + upcasters.length,
  upcasters,
  implied: [] as StoredShape['implied'],
})
/** The shape of attempts. Most events are attempts, so usual values are not stored. Schema 1 stored every field, and had no `address` (decision 54). */
const attempt = () => ({
  ...shape(deliveryEventFields, (data) => ({ address: null, ...data })),
  implied: Object.entries<Implied>({
    tenant: ({ metadata }) => metadata.tenant,
    webhook: ({ stream }) => stream.slice('attempts-'.length, -'-yyyymmdd'.length),
    address: () => null,
    reason: () => null,
    response: () => null,
  }),
})

/** Renames a field. A sealed field must keep its name. */
const renamed =
  (from: string, to: string): Upcaster =>
  ({ [from]: value, ...data }) => ({ ...data, [to]: value })

/** The only list of all event types. It says how their fields are stored, gives the schema numbers, and converts older shapes. */
export const eventTypes = {
  TenantRegistered: shape(tenantEventFields),
  TenantSettingsChanged: shape(tenantEventFields),
  TenantSuspended: shape(tenantEventFields),
  TenantResumed: shape(tenantEventFields),
  TenantHeld: shape(tenantEventFields),
  TenantHoldReleased: shape(tenantEventFields),
  TenantErasureAsked: shape(tenantEventFields),
  TenantErased: shape(tenantEventFields),
  ClientIssued: shape(tenantEventFields),
  ClientSecretRotated: shape(tenantEventFields, renamed('previous_until', 'previous_secret_until')),
  ClientRevoked: shape(tenantEventFields),
  KeyCreated: shape(keyEventFields),
  KeyChanged: shape(keyEventFields),
  KeyRotated: shape(keyEventFields, renamed('previous_until', 'previous_key_until')),
  KeyDeleted: shape(keyEventFields),
  WebhookCreated: shape(webhookEventFields),
  WebhookChanged: shape(webhookEventFields),
  WebhookSecretRotated: shape(webhookEventFields, renamed('previous_until', 'previous_secret_until')),
  WebhookActivated: shape(webhookEventFields),
  WebhookDeactivated: shape(webhookEventFields),
  WebhookDeleted: shape(webhookEventFields),
  LogStarted: shape(logEventFields),
  AttemptMacsStarted: shape(logEventFields),
  BatchSealed: shape(logEventFields),
  StreamsListed: shape(logEventFields),
  LossDeclared: shape(logEventFields),
  OperatorActed: shape(operatorEventFields),
  PayloadErasureAsked: shape(erasureEventFields),
  PayloadErased: shape(erasureEventFields),
  AuditRead: shape(accessEventFields),
  AccessDenied: shape(accessEventFields),
  TokenRefused: shape(accessEventFields),
  AccessesOmitted: shape(accessEventFields),
  MessageRouted: shape(deliveryEventFields),
  MessagesRouted: shape(deliveryEventFields),
  MessageRejected: shape(deliveryEventFields),
  DeliverySucceeded: attempt(),
  DeliveryFailed: attempt(),
  DeliveryDeadLettered: attempt(),
  DeliveryDiscarded: shape(deliveryEventFields),
  DeliveryReplayed: shape(deliveryEventFields),
} satisfies { [T in EventType]: StoredShape & { fields: { [F in keyof Events[T]]-?: StoredAs } } }

const shapes: ReadonlyMap<string, StoredShape> = new Map(Object.entries(eventTypes))
/** Returns the shape of an event type, or undefined when this version does not know the type. */
export const shapeOf = (type: string): StoredShape | undefined => shapes.get(type)

/** The schema number in the head of each record on the bus. `decodeRecord` refuses any other number. */
export const recordSchema = 1

/**
 * The error for an event with an unknown type or a newer schema. Such an event is never skipped, because the state would then lack a part of the
 * past.
 */
export class EventNotReadable extends Error {
  readonly code = 'event_not_readable'
}

/**
 * Converts an event to the present schema of its type, and adds the fields that are implied. Throws EventNotReadable if this version does not know the
 * type or the schema.
 */
export function upcast<E extends NewEvent & { readonly stream?: StreamName }>(event: E): E {
  const { type, metadata } = event
  const typeShape = shapes.get(type)
  if (typeShape === undefined)
    throw new EventNotReadable(`this version knows no event of type ${JSON.stringify(type.slice(0, 100))}: run the version that stored it`)
  const { schema } = metadata
  const { implied } = typeShape
  if (schema === typeShape.schema && implied.length === 0) return event
  if (!Number.isInteger(schema) || schema < 1 || schema > typeShape.schema)
    throw new EventNotReadable(
      `a ${type} has the schema ${JSON.stringify(schema)}, and this version reads up to ${typeShape.schema}: run the version that stored it`,
    )
  let { data } = event as NewEvent
  for (const toNext of typeShape.upcasters.slice(schema - 1)) data = toNext({ ...data })
  if (event.stream !== undefined && implied.length > 0) data = { ...impliedValues(typeShape, { stream: event.stream, metadata }), ...data }
  return { ...event, data, metadata: { ...metadata, schema: typeShape.schema } }
}
function impliedValues({ implied }: StoredShape, stored: Parameters<Implied>[0]): object {
  // A loop, because this function is called for every attempt by each of its readers, and takes half as long as `Object.fromEntries`.
  const values: Record<string, unknown> = {}
  for (const [field, impliedBy] of implied) values[field] = impliedBy(stored)
  return values
}

/** Returns an event without the fields that `upcast` adds. */
export function withoutImplied<E extends Omit<NewEvent, 'id'>>(event: E, stream: StreamName): E {
  const { type, data, metadata } = event
  const implied = impliedValues(shapes.get(type)!, { stream, metadata }) as Readonly<Record<string, unknown>>
  const stored: Record<string, unknown> = {}
  for (const [field, value] of Object.entries(data)) if (!(field in implied) || implied[field] !== value) stored[field] = value
  return { ...event, data: stored }
}
