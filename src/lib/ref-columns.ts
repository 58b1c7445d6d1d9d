import { type DeliveryRef, deliveryRefFields, type MessageRef, messageRefFields } from '../events/refs.ts'
import { joinTexts, splitTexts } from './joined-texts.ts'
import { SqlPart } from './sql.ts'

/** The columns of a MessageRef, in the spelling and order of every table and statement. */
export const messageRefColumns = messageRefFields.join(', ')
/** The columns of a DeliveryRef. */
export const deliveryRefColumns = deliveryRefFields.join(', ')

const typed = (type: string) => (parameter: number) => `$${parameter}::${type}[]`
const messageParameters = [splitTexts, splitTexts, splitTexts, splitTexts, splitTexts, typed('timestamptz')]
const deliveryParameters = [...messageParameters, splitTexts, typed('uuid'), splitTexts, typed('integer'), typed('integer')]
const parametersOf = (parameters: readonly ((parameter: number) => string)[]) => (first: number) =>
  parameters.map((parameter, i) => parameter(first + i)).join(', ')

/** The arguments of an `unnest` that returns `messageRefColumns`, for the values of `messageRefArrays` from parameter `first` on. */
export const messageRefParameters = parametersOf(messageParameters)
/** The arguments of an `unnest` that returns `deliveryRefColumns`, for the values of `deliveryRefArrays` from parameter `first` on. */
export const deliveryRefParameters = parametersOf(deliveryParameters)

/** Returns each column of these refs as one parameter. A column of texts becomes one joined text. There must be at least one ref. */
export const messageRefArrays = (refs: readonly MessageRef[]): string[] => [
  joined(refs, (ref) => ref.tenant),
  joined(refs, (ref) => ref.message),
  joined(refs, (ref) => ref.place),
  joined(refs, (ref) => ref.fingerprint),
  joined(refs, (ref) => ref.event),
  literal(refs, (ref) => ref.accepted_at),
]
export const deliveryRefArrays = (refs: readonly DeliveryRef[]): string[] => [
  ...messageRefArrays(refs),
  joined(refs, (ref) => ref.webhook),
  literal(refs, (ref) => ref.delivery),
  joined(refs, (ref) => ref.correlation_id),
  literal(refs, (ref) => ref.chain),
  literal(refs, (ref) => ref.attempt),
]
const joined = <R>(refs: readonly R[], field: (ref: R) => string): string => joinTexts(refs.map(field))
const literal = <R>(refs: readonly R[], field: (ref: R) => string | number): string => `{${refs.map(field).join(',')}}`

/** The arguments of an `unnest` in tagged SQL that returns `messageRefColumns`. */
export const messageRefs = (refs: readonly MessageRef[]): SqlPart => new SqlPart(messageRefParameters, messageRefArrays(refs))
/** The arguments of an `unnest` in tagged SQL that returns `deliveryRefColumns`. */
export const deliveryRefs = (refs: readonly DeliveryRef[]): SqlPart => new SqlPart(deliveryRefParameters, deliveryRefArrays(refs))
