/**
 * How the value of an event's field is stored: readable, or sealed under the tenant's data key, as a text or as JSON.
 * Destroying that key erases the sealed values everywhere, backups included.
 */
export type StoredAs = 'clear' | 'sealed' | 'sealed_json'
export type SealedAs = Exclude<StoredAs, 'clear'>
/** A text is sealed as it is; any other value is sealed as JSON. */
type StorageOf<Value> = 'clear' | ([Value] extends [string | null] ? 'sealed' : 'sealed_json')

type FieldOf<Events> = { [T in keyof Events]: keyof Events[T] }[keyof Events] & string
type ValueOf<Events, F> = { [T in keyof Events]: F extends keyof Events[T] ? Events[T][F] : never }[keyof Events]

/** Declares each field of a family's events once. A field that is declared neither sealed nor clear does not compile. */
export type FieldsOf<Events> = { readonly [F in FieldOf<Events>]: StorageOf<Exclude<ValueOf<Events, F>, undefined>> }
