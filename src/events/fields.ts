/**
 * Says how the value of an event's field is stored: readable, or sealed under the tenant's data key as a text or as JSON. Destroying that
 * key erases the sealed values everywhere, including backups.
 */
export type StoredAs = 'clear' | 'sealed' | 'sealed_json'
export type SealedAs = Exclude<StoredAs, 'clear'>
/** A text is sealed as it is. Any other value is sealed as JSON. */
type StorageOf<Value> = 'clear' | ([Value] extends [string | null] ? 'sealed' : 'sealed_json')

type FieldOf<Events> = { [T in keyof Events]: keyof Events[T] }[keyof Events] & string
type ValueOf<Events, F> = { [T in keyof Events]: F extends keyof Events[T] ? Events[T][F] : never }[keyof Events]

/** Declares each field of a family's events once. A field that is declared neither sealed nor clear does not compile. */
export type FieldsOf<Events> = { readonly [F in FieldOf<Events>]: StorageOf<Exclude<ValueOf<Events, F>, undefined>> }

/** Says how Kolbak uses a field of an aggregate. */
export type FieldTrait =
  /** The event that creates the aggregate holds the field. Kolbak chooses the value. */
  | 'chosen'
  /** The event that creates the aggregate holds the field. The caller gives the value. */
  | 'given'
  /** A command can change the field. The `...Changed` event of the aggregate then holds the new value. */
  | 'changeable'
  /** Responses show the field. */
  | 'shown'
  /** The history of changes shows the values of the field. For a secret field it shows only that the field changed. */
  | 'in_history'
  /** The history of changes and the audit log hide the value. */
  | 'secret'
  /** All past values of the field are kept, so that the state at a past time can be read. */
  | 'versioned'
  /** The webhook cache of the dispatchers holds the field. */
  | 'dispatched'

/** The declaration of one field of an aggregate. Events, decider, columns, responses and history follow from it. */
interface FieldRules<Value = unknown> {
  readonly stored: StoredAs
  readonly is: readonly FieldTrait[]
  /** The type of the field's column in read models. A field without it has no column. */
  readonly column?: string
  /** The name to which the sealed value is bound, if it is the name of another field. */
  readonly boundTo?: string
  /** The value of a `given` field when the caller leaves it out. */
  readonly default?: Value
}
/** Declares every field of an aggregate. */
export type FieldTable<Fields> = { readonly [F in keyof Fields]-?: FieldRules<Fields[F]> & { readonly stored: StorageOf<Fields[F]> } }
export type AnyFieldTable = Readonly<Record<string, FieldRules>>

/** The names of the fields that have a trait. */
export type FieldThatIs<Table extends AnyFieldTable, Trait extends FieldTrait> = {
  [F in keyof Table]: Trait extends Table[F]['is'][number] ? F : never
}[keyof Table] &
  string
/** Returns the names of the fields that have a trait, in the order of the table. */
export const fieldsThatAre = <Table extends AnyFieldTable, Trait extends FieldTrait>(table: Table, trait: Trait) =>
  Object.keys(table).filter((field) => table[field]?.is.includes(trait)) as FieldThatIs<Table, Trait>[]
/** Returns how each field is stored, for the declaration of the events. */
export const storageOf = <Table extends AnyFieldTable>(table: Table) =>
  Object.fromEntries(Object.entries(table).map(([field, { stored }]) => [field, stored])) as {
    readonly [F in keyof Table]: Table[F]['stored']
  }

type FieldWithDefault<Table extends AnyFieldTable> = {
  [F in keyof Table]: Table[F] extends { readonly default: unknown } ? F : never
}[keyof Table] &
  string
/** Returns the values that `given` fields have when a caller leaves them out. */
export const defaultsOf = <Table extends AnyFieldTable>(table: Table) =>
  Object.fromEntries(Object.entries(table).flatMap(([field, rules]) => ('default' in rules ? [[field, rules.default]] : []))) as {
    readonly [F in FieldWithDefault<Table>]: Table[F]['default']
  }

/** Returns an object that has only these fields of `from`. */
export const pick = <T extends object, F extends keyof T>(from: T, fields: readonly F[]): Pick<T, F> =>
  Object.fromEntries(fields.map((field) => [field, from[field]])) as Pick<T, F>
