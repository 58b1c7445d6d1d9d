import { createCipheriv, createDecipheriv, createHmac, createSecretKey, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { ClientBase, Pool } from 'pg'
import type { EventId } from '../events/ids.ts'
import { type LookupPurpose, lookupPurposes } from '../events/lookup-purposes.ts'
import { createVault, erasedVault, KeyDestroyed, type Vault } from './seal.ts'

/**
 * The data keys. They are random, and stored in the table `data_keys`, wrapped by the master key. Each owner has one key that seals its values and
 * one for fingerprints. The owner `service` has one key for each purpose of look-ups by HMAC. Destroying an owner's keys erases everything that was
 * sealed under them.
 */
export interface Keyring {
  /**
   * Returns the owner's vault. The vault of an erased tenant shows each text as `[erased]`. Throws DataKeyFault if a key is missing, or if it is gone and
   * Kolbak has not destroyed it.
   */
  vault(owner: string): Promise<Vault>
  /** Returns the vault if it is in memory, or else undefined. This is for code that runs often and cannot wait. */
  cached(owner: string): Vault | undefined
  /** Returns the HMAC-SHA-256 (hex) under the service's own key for this purpose, which never changes. */
  lookup(purpose: LookupPurpose, value: string): string
  /** Creates the keys of an owner, when its tenant is registered. Keys that exist, or that were destroyed, stay as they are. */
  create(owner: string): Promise<void>
}
/** Destroys the keys of a tenant for good, in this process and in the database. */
export interface KeyEraser {
  /** @param asked the event that asked for the erasure */
  destroy(owner: string, asked: EventId): Promise<void>
  /** Makes this process read all keys again, because another process may have destroyed one. */
  forgetAll(): void
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
/** The error for a key that is gone, although Kolbak has not destroyed it. It never counts as an erasure. */
export class DataKeyFault extends Error {
  readonly code: 'key_missing' | 'erased_without_record'
  constructor(code: DataKeyFault['code'], owner: string) {
    const what = code === 'key_missing' ? 'is missing' : 'is gone, and Kolbak has not destroyed it'
    super(`the data key of ${owner} ${what}: put the table data_keys back from your newest backup`)
    this.code = code
  }
}

const service = 'service'
const cacheMs = 60_000
/** The purposes of the keys of a tenant. */
const ownerPurposes = ['seal', 'fingerprint'] as const
/** Returns the purpose under which the record of a destroyed key is wrapped. */
const recordOf = (purpose: string): string => `erased:${purpose}`

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

/** The rows of the table `data_keys`, under one master key. */
function createKeyTable(pool: Pool, master: Buffer) {
  const insertKeys = async (owner: string, purposes: readonly string[], length = 32) => {
    // Two processes may create keys at the same time. Both then read the keys of the first process.
    await pool.query(
      `insert into data_keys (owner, purpose, wrapped)
       select $1, purpose, wrapped from unnest($2::text[], $3::bytea[]) as made (purpose, wrapped)
       on conflict (owner, purpose) do nothing`,
      [owner, purposes, purposes.map((purpose) => wrap(master, owner, purpose, randomBytes(length)))],
    )
  }
  const isRecorded = (owner: string, purpose: string, record: Buffer | null): boolean => {
    try {
      return record !== null && unwrap(master, owner, recordOf(purpose), record).length > 0
    } catch {
      return false
    }
  }
  /** Returns the keys of an owner by their purposes. Throws KeyDestroyed or DataKeyFault. */
  const readKeys = async (owner: string) => {
    const { rows } = await pool.query<{ id: number; purpose: string; wrapped: Buffer | null; erased_by: Buffer | null }>(
      'select id, purpose, wrapped, erased_by from data_keys where owner = $1',
      [owner],
    )
    const gone = rows.filter((row) => row.wrapped === null)
    if (gone.some((row) => !isRecorded(owner, row.purpose, row.erased_by))) throw new DataKeyFault('erased_without_record', owner)
    if (gone.length > 0) throw new KeyDestroyed(owner)
    return new Map(rows.map((row) => [row.purpose, { id: row.id, key: unwrap(master, owner, row.purpose, row.wrapped!) }]))
  }
  return {
    insertKeys,
    readKeys,
    /** Destroys the keys of an owner, and records the event that asked for it. */
    async destroyKeys(owner: string, asked: EventId) {
      const records = ownerPurposes.map((purpose) => wrap(master, owner, recordOf(purpose), Buffer.from(asked)))
      await pool.query(
        `insert into data_keys (owner, purpose, erased_by) select $1, purpose, record from unnest($2::text[], $3::bytea[]) as erasure (purpose, record)
         on conflict (owner, purpose) do update set wrapped = null, erased_by = excluded.erased_by
         where data_keys.wrapped is not null or data_keys.erased_by is null`,
        [owner, ownerPurposes, records],
      )
    },
  }
}

const need = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error('a data key that was just created is missing')
  return value
}

/** Opens the keyring. Throws WrongMasterKey when this master key does not unwrap the keys of the service. @param master 32 bytes */
export async function openKeyring(pool: Pool, master: Buffer): Promise<Keyring & KeyEraser & ServiceSecrets> {
  const { insertKeys, readKeys, destroyKeys } = createKeyTable(pool, master)
  await readKeys(service) // a wrong master key is refused before any key is made under it
  await insertKeys(service, lookupPurposes)
  const serviceKeys = new Map([...(await readKeys(service))].map(([purpose, { key }]) => [purpose, createSecretKey(key)]))
  const vaults = new LRUCache<string, Vault>({ max: 10_000, ttl: cacheMs })
  const loading = new Map<string, Promise<Vault>>()
  /** The number of calls of `forgetAll`. */
  let forgotten = 0
  const forgetAll = () => {
    forgotten++
    vaults.clear()
    loading.clear()
  }

  const load = async (owner: string): Promise<Vault> => {
    try {
      const keys = await readKeys(owner)
      const [sealing, fingerprints] = [keys.get('seal'), keys.get('fingerprint')]
      if (sealing === undefined || fingerprints === undefined) throw new DataKeyFault('key_missing', owner)
      return createVault({
        key_id: sealing.id,
        dataKey: sealing.key,
        keyOf: (id) => (id === sealing.id ? sealing.key : undefined),
        fingerprintKey: fingerprints.key,
      })
    } catch (error) {
      if (error instanceof KeyDestroyed) return erasedVault(owner)
      throw error
    }
  }
  return {
    cached: (owner) => vaults.get(owner),
    async vault(owner) {
      const cached = vaults.get(owner)
      if (cached !== undefined) return cached
      const generation = forgotten
      const pending = loading.get(owner) ?? load(owner).finally(() => loading.delete(owner))
      loading.set(owner, pending)
      const loadedVault = await pending
      // A key that was read before it was destroyed is not kept.
      if (generation === forgotten) vaults.set(owner, loadedVault)
      return loadedVault
    },
    create: (owner) => insertKeys(owner, ownerPurposes),
    async destroy(owner, asked) {
      await destroyKeys(owner, asked)
      forgetAll()
    },
    forgetAll,
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
