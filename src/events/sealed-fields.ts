import type { Metadata, NewEvent } from './envelope.ts'
import type { SealedAs } from './fields.ts'
import { shapeOf } from './schema.ts'
import { aggregateIn, type StreamName } from './streams.ts'

/** Returns the AAD of a sealed field. It is the same in the event and in every read model that has a copy of the value. */
export const fieldAad = (tenant: string, aggregate: string, field: string): string[] => ['event', tenant, aggregate, field]
/**
 * Returns the AAD of a message's sealed body, on the bus and in the archive. Its first word must never change, because every sealed body is bound to
 * it.
 */
export const bodyAad = (tenant: string, message: string): string[] => ['payload', tenant, message]

interface TextSeal {
  /** Whether the key was destroyed, so that each text opens as `[erased]`. */
  readonly isErased?: boolean
  sealText(aad: readonly string[], plain: string): string
  openText(aad: readonly string[], sealed: string): string
}
/** An event before it is stored. `sealEvent` adds the number of its schema. */
export interface UnsealedEvent<T extends string = string, D extends object = object> extends Omit<NewEvent<T, D>, 'metadata'> {
  readonly metadata: Omit<Metadata, 'schema'>
}

/**
 * Returns the id to which sealed values of an event are bound: the delivery for its events, or else the aggregate of the command stream.
 */
function aggregateOf(data: { readonly delivery?: unknown }, stream: StreamName): string {
  return typeof data.delivery === 'string' ? data.delivery : aggregateIn(stream)
}

/** Seals one value in the way that its field is declared. */
export function sealValue(vault: TextSeal, aad: readonly string[], as: SealedAs, value: unknown): string {
  if (as === 'sealed_json') return vault.sealText(aad, JSON.stringify(value))
  if (typeof value !== 'string') throw new TypeError(`${aad.at(-1)} is declared as a sealed text and is not a text`)
  return vault.sealText(aad, value)
}
/** Opens a value that `sealValue` has sealed. Throws SealBroken, or TypeError for a value that is not a text. */
export function openValue(vault: TextSeal, aad: readonly string[], as: SealedAs, sealed: unknown): unknown {
  // The error is a TypeError, because projections count a TypeError as a fault of the event and not of the store.
  if (typeof sealed !== 'string') throw new TypeError(`${aad.at(-1)} is declared as sealed and is not a text`)
  const plain = vault.openText(aad, sealed)
  return as === 'sealed_json' && !vault.isErased ? JSON.parse(plain) : plain
}

/**
 * Makes the event that is stored. It adds the number of the schema, and seals the fields that are declared sealed, unless they are absent
 * or null. Every event passes here before it is appended. Throws TypeError for an undeclared event type or field, which would otherwise be
 * stored in the clear.
 * @param vault may be null when the event has no value to seal
 */
export function sealEvent<E extends Omit<UnsealedEvent, 'id'>>(
  vault: TextSeal | null,
  stream: StreamName,
  event: E,
): Omit<E, 'metadata'> & Pick<NewEvent, 'metadata'> {
  const { type } = event
  const shape = shapeOf(type)
  if (shape === undefined) throw new TypeError(`the event type ${type} is not declared`)
  for (const field in event.data)
    if (!Object.hasOwn(shape.fields, field)) throw new TypeError(`${type}.${field} is declared neither sealed nor clear`)
  const data = mapSealedFields(event, stream, (aad, as, value) => {
    if (vault === null) throw new TypeError(`${type}.${aad.at(-1)} has a value, and there is no vault to seal it`)
    return sealValue(vault, aad, as, value)
  })
  return { ...event, data, metadata: { schema: shape.schema, ...event.metadata } }
}

/** Opens the fields that `sealEvent` has sealed, in an event of the present schema. Throws SealBroken. */
export const openEvent = <E extends NewEvent>(vault: TextSeal, stream: StreamName, event: E): E => ({
  ...event,
  data: mapSealedFields(event, stream, (aad, as, value) => openValue(vault, aad, as, value)),
})

/** Returns the event's data in which every sealed field that has a value is converted. */
function mapSealedFields<D extends object>(
  event: { readonly type: string; readonly data: D; readonly metadata: Pick<Metadata, 'tenant'> },
  stream: StreamName,
  convert: (aad: string[], as: SealedAs, value: unknown) => unknown,
): D {
  const sealed = shapeOf(event.type)?.sealed ?? []
  if (sealed.length === 0) return event.data
  const aggregate = aggregateOf(event.data, stream)
  const data = { ...event.data } as Record<string, unknown>
  for (const [field, as] of sealed) {
    const value = data[field]
    if (value === undefined || value === null) continue
    data[field] = convert(fieldAad(event.metadata.tenant, aggregate, field), as, value)
  }
  return data as D
}
