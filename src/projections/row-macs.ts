import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { type Sql, sqlText } from '../lib/sql.ts'

/*
 * The rows from which rights follow have a MAC, under a key that the master key wraps. So somebody with the password of the database cannot give rights
 * to a client or a key. An altered row gives no rights at all, until its read model is built again.
 */

/** A kind of row: its table, its key, and the columns from which rights follow, in the order in which the MAC has them. */
interface SealedRows {
  readonly table: string
  readonly key: string
  readonly columns: readonly string[]
}
export type RowKind = 'tenant' | 'client' | 'key'
export const sealedRows: Readonly<Record<RowKind, SealedRows>> = {
  tenant: { table: 'tenants', key: 'id', columns: ['id', 'is_suspended', 'limits'] },
  client: {
    table: 'clients',
    key: 'client_id',
    columns: ['client_id', 'tenant', 'scopes', 'secret_hmac', 'previous_hmac', 'previous_secret_until', 'generation', 'revoked'],
  },
  key: {
    table: 'api_keys',
    key: 'id',
    columns: ['id', 'tenant', 'scopes', 'lookup_hmac', 'previous_hmac', 'previous_key_until', 'deleted_at'],
  },
}

type Row = Readonly<Record<string, unknown>>
/** Returns the MAC of a row as Postgres returns it. */
const macOfRow = (keyring: Pick<Keyring, 'lookup'>, kind: RowKind, row: Row): string =>
  keyring.lookup('credential-row', JSON.stringify([kind, ...sealedRows[kind].columns.map((column) => row[column])]))

/**
 * Runs `change`, which changes rows with these keys, and then writes their MACs in the same transaction. A row that was altered before the change gets no
 * MAC, because the change would otherwise make the alteration genuine.
 */
export async function resealRows(
  sql: Sql,
  keyring: Pick<Keyring, 'lookup'>,
  keys: Readonly<Partial<Record<RowKind, readonly string[]>>>,
  change: () => Promise<void>,
): Promise<void> {
  const kinds = (Object.keys(keys) as RowKind[]).map((kind) => ({ kind, changed: [...new Set(keys[kind])].sort() }))
  const altered = new Map<RowKind, Set<unknown>>()
  for (const { kind, changed } of kinds) {
    const before = await readRows(sql, kind, changed)
    const isAltered = (row: Row) => row.mac !== macOfRow(keyring, kind, row)
    altered.set(kind, new Set(before.filter(isAltered).map((row) => row[sealedRows[kind].key])))
  }
  await change()
  for (const { kind, changed } of kinds) {
    const { table, key } = sealedRows[kind]
    const rows = await readRows(sql, kind, changed)
    const macs = rows.map((row) => (altered.get(kind)?.has(row[key]) ? null : macOfRow(keyring, kind, row)))
    if (rows.length > 0)
      await sql`
        update ${sqlText(table)} as r set mac = sealed.mac from unnest(${rows.map((row) => row[key])}::text[], ${macs}::text[]) as sealed (key, mac)
        where r.${sqlText(key)} = sealed.key`
  }
}
const readRows = (sql: Sql, kind: RowKind, keys: readonly string[]): Promise<Row[]> => {
  const { table, key, columns } = sealedRows[kind]
  return sql<Row>`select ${sqlText(columns.join(', '))}, mac from ${sqlText(table)} where ${sqlText(key)} = any (${keys}::text[])`
}

export interface RowChecks {
  readonly keyring: Pick<Keyring, 'lookup'>
  readonly log: Pick<Log, 'error'>
}
/** Returns whether Kolbak has written a row. An altered row is logged. @param row has the columns of its kind, and `mac` */
export function isGenuineRow({ keyring, log }: RowChecks, kind: RowKind, row: Row): boolean {
  // A comparison in constant time is not needed, because an attacker could try a MAC only by writing it to the database.
  if (row.mac === macOfRow(keyring, kind, row)) return true
  const { table, key } = sealedRows[kind]
  log.error({ table, key: row[key] }, 'credentials.row_altered')
  return false
}
