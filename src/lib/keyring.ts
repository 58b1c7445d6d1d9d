import { createCipheriv, createDecipheriv, createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { ClientBase, Pool } from 'pg'
import { type LookupPurpose, lookupPurposes } from '../events/lookup-purposes.ts'
import { createVault, type Vault } from './seal.ts'

/**
 * The data keys. They are random, and stored in the table `data_keys`, wrapped by the master key. Each owner has one key that seals its values and
 * one for fingerprints. The owner `service` has one key for each purpose of look-ups by HMAC. Destroying an owner's keys erases everything that was
 * sealed under them.
 */
export interface Keyring {
  /** Returns the owner's vault. If the owner has no keys, they are created. Throws KeyDestroyed. */
  vault(owner: string): Promise<Vault>
  /** Returns the vault if it is in memory, or else undefined. This is for code that runs often and cannot wait. */
  cached(owner: string): Vault | undefined
  /** Returns the HMAC-SHA-256 (hex) under the service's own key for this purpose, which never changes. */
  lookup(purpose: LookupPurpose, value: string): string
}

/** The secrets of the service that are neither vaults nor look-ups. */
export interface ServiceSecrets {
  /** Returns a secret of the service, which is created with `length` random bytes if it is missing. It is stored wrapped by the master key. */
  secret(purpose: ServiceSecret, length: number): Promise<Buffer>
  /** Stores another value of a secret that exists. @param client the client of an open transaction, or by default any connection */
  replaceSecret(purpose: ServiceSecret, secret: Buffer, client?: ClientBase): Promise<void>
}
/** The key of the MACs of events, and the key that signs the heads of the log. */
export type ServiceSecret = 'event-mac' | 'log-signing'

export class WrongMasterKey extends Error {
  readonly code = 'wrong_master_key'
  constructor() {
    super(
      'KOLBAK_MASTER_KEY is not the key under which this database was sealed: set the former key, or put the former keys.json back in the data folder.',
    )
  }
}
export class KeyDestroyed extends Error {
  readonly code = 'key_destroyed'
  constructor(owner: string) {
    super(`the data key of ${owner} has been destroyed`)
  }
}

const service = 'service'
const cacheMs = 60_000

function wrap(master: Buffer, owner: string, purpose: string, key: Buffer): Buffer {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', master, iv)
  cipher.setAAD(Buffer.from(`${owner}\u0000${purpose}`))
  const body = Buffer.concat([cipher.update(key), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), body])
}
export function unwrap(master: Buffer, owner: string, purpose: string, wrapped: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', master, wrapped.subarray(0, 12))
  decipher.setAAD(Buffer.from(`${owner}\u0000${purpose}`))
  decipher.setAuthTag(wrapped.subarray(12, 28))
  const key = decipher.update(wrapped.subarray(28))
  try {
    decipher.final()
  } catch {
    throw new WrongMasterKey() // an authentication failure can have no other cause
  }
  return key
}

/** Opens the keyring. Throws WrongMasterKey when this master key does not unwrap the keys of the service. @param master 32 bytes */
export async function openKeyring(pool: Pool, master: Buffer): Promise<Keyring & ServiceSecrets> {
  const insertKeys = async (owner: string, purposes: readonly string[], length = 32) => {
    // Two processes may create keys at the same time. Both then read the keys of the first process.
    await pool.query(
      `insert into data_keys (owner, purpose, wrapped)
       select $1, purpose, wrapped from unnest($2::text[], $3::bytea[]) as made (purpose, wrapped)
       on conflict (owner, purpose) do nothing`,
      [owner, purposes, purposes.map((purpose) => wrap(master, owner, purpose, randomBytes(length)))],
    )
  }
  const keysOf = async (owner: string, purposes: readonly string[]) => {
    await insertKeys(owner, purposes)
    return readKeys(owner)
  }
  const readKeys = async (owner: string) => {
    const { rows } = await pool.query<{ id: number; purpose: string; wrapped: Buffer | null }>(
      'select id, purpose, wrapped from data_keys where owner = $1',
      [owner],
    )
    if (rows.some((row) => row.wrapped === null)) throw new KeyDestroyed(owner)
    return new Map(rows.map((row) => [row.purpose, { id: row.id, key: unwrap(master, owner, row.purpose, row.wrapped!) }]))
  }
  const need = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error('a data key that was just created is missing')
    return value
  }

  await readKeys(service) // a wrong master key is refused before any key is made under it
  const serviceKeys = new Map([...(await keysOf(service, lookupPurposes))].map(([purpose, { key }]) => [purpose, createSecretKey(key)]))
  const vaults = new LRUCache<string, Vault>({ max: 10_000, ttl: cacheMs })
  const loading = new Map<string, Promise<Vault>>()

  const load = async (owner: string): Promise<Vault> => {
    let keys = await readKeys(owner)
    if (!keys.has('seal') || !keys.has('fingerprint')) keys = await keysOf(owner, ['seal', 'fingerprint'])
    const sealing = need(keys.get('seal'))
    return createVault({
      key_id: sealing.id,
      dataKey: sealing.key,
      keyOf: (id) => (id === sealing.id ? sealing.key : undefined),
      fingerprintKey: need(keys.get('fingerprint')).key,
    })
  }
  return {
    cached: (owner) => vaults.get(owner),
    async vault(owner) {
      const cached = vaults.get(owner)
      if (cached !== undefined) return cached
      const pending = loading.get(owner) ?? load(owner).finally(() => loading.delete(owner))
      loading.set(owner, pending)
      const loadedVault = await pending
      vaults.set(owner, loadedVault)
      return loadedVault
    },
    lookup: (purpose, value) =>
      createHmac('sha256', need(serviceKeys.get(purpose)))
        .update(value)
        .digest('hex'),
    async secret(purpose, length) {
      const stored = (await readKeys(service)).get(purpose)
      if (stored !== undefined) return stored.key
      await insertKeys(service, [purpose], length)
      return need((await readKeys(service)).get(purpose)).key
    },
    async replaceSecret(purpose, secret, client) {
      await (client ?? pool).query('update data_keys set wrapped = $3 where owner = $1 and purpose = $2', [
        service,
        purpose,
        wrap(master, service, purpose, secret),
      ])
    },
  }
}
