import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'

/**
 * The number of the format, which is the first byte of a sealed value. A value is sealed by AES-256-GCM under HKDF(data key, random salt). A process
 * uses one salt for an hour, so that sealing a value needs no derivation. The nonces under a salt are a counter. The bytes are: format (1), key id
 * (4), salt (16), nonce (12), tag (16), ciphertext.
 */
const format = 1
const overhead = 1 + 4 + 16 + 12 + 16
const saltLifeMs = 3_600_000
const textPrefix = 'sealed:'

/**
 * Seals and opens the values of one owner. The AAD (purpose, owner, id, field) binds a sealed value to its field, so that it cannot be copied to
 * another one.
 */
export interface Vault {
  seal(aad: readonly string[], plain: Buffer): Buffer
  /** Opens a value. Throws SealBroken when the bytes were changed, or when the value was sealed with another AAD. */
  open(aad: readonly string[], sealed: Buffer): Buffer
  /** Seals a text as UTF-8. A lone surrogate becomes U+FFFD. */
  sealText(aad: readonly string[], plain: string): string
  openText(aad: readonly string[], sealed: string): string
  /** Returns the HMAC-SHA-256 (hex) under the owner's key for fingerprints. */
  fingerprint(content: Iterable<string | Buffer>): string
  /** Whether the key was destroyed. Each text then opens as `[erased]`, and everything else throws KeyDestroyed. */
  readonly isErased: boolean
  /** Returns the blinding (base64url) of a sealed text. It is computed with the owner's key, so it cannot be computed once that key is destroyed. */
  blindingOf(sealed: string): string
}

/** The text that takes the place of every sealed text of an erased tenant. */
export const erasedText = '[erased]'

/** The error for a value of an erased tenant. */
export class KeyDestroyed extends Error {
  readonly code = 'key_destroyed'
  constructor(owner: string) {
    super(`the data key of ${owner} has been destroyed`)
  }
}
/** Returns the vault of an owner whose key was destroyed. */
export function erasedVault(owner: string): Vault {
  const refuse = (): never => {
    throw new KeyDestroyed(owner)
  }
  return {
    isErased: true,
    openText: () => erasedText,
    seal: refuse,
    open: refuse,
    sealText: refuse,
    fingerprint: refuse,
    blindingOf: refuse,
  }
}

export class SealBroken extends Error {
  readonly code = 'seal_broken'
}
export const isSealedText = (value: string): boolean => value.startsWith(textPrefix)

/**
 * @param dataKey the newest key, under which values are sealed
 * @param keyOf returns the key under which an older value was sealed
 */
export function createVault(options: {
  key_id: number
  dataKey: Buffer
  keyOf: (id: number) => Buffer | undefined
  fingerprintKey: Buffer
  now?: () => number
}): Vault {
  const { key_id, dataKey, keyOf, fingerprintKey, now = Date.now } = options
  // Key objects are created once. From bytes, a cipher or HMAC creates a key object each time, which takes 15 of its 20 µs.
  const derive = (key: Buffer, salt: Buffer) => createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, 'kolbak/seal', 32)))
  const hmacKey = createSecretKey(fingerprintKey)
  const derived = new LRUCache<string, KeyObject>({ max: 1_000 })
  let salt = Buffer.alloc(0)
  let sealingKey = hmacKey // this key is replaced before the first value is sealed
  let counter = 0n
  let saltUntil = 0

  const freshSalt = () => {
    salt = randomBytes(16)
    sealingKey = derive(dataKey, salt)
    counter = 0n
    saltUntil = now() + saltLifeMs
  }
  const keyFor = (sealed: Buffer): KeyObject => {
    const id = sealed.readUInt32BE(1)
    const name = sealed.toString('latin1', 1, 21)
    const cached = derived.get(name)
    if (cached !== undefined) return cached
    const key = keyOf(id)
    if (key === undefined) throw new SealBroken(`no data key ${id}: the key under which the value was sealed is missing`)
    const derivedKey = derive(key, sealed.subarray(5, 21))
    derived.set(name, derivedKey)
    return derivedKey
  }
  // The parts are encoded as JSON, because it separates them whatever they contain.
  const associated = (aad: readonly string[]) => Buffer.from(JSON.stringify(aad))

  const self: Vault = {
    isErased: false,
    seal(aad, plain) {
      if (now() >= saltUntil) freshSalt()
      const sealed = Buffer.allocUnsafe(overhead + plain.length)
      sealed[0] = format
      sealed.writeUInt32BE(key_id, 1)
      salt.copy(sealed, 5)
      sealed.writeUInt32BE(0, 21)
      sealed.writeBigUInt64BE(counter++, 25)
      const cipher = createCipheriv('aes-256-gcm', sealingKey, sealed.subarray(21, 33))
      cipher.setAAD(associated(aad))
      cipher.update(plain).copy(sealed, overhead)
      cipher.final()
      cipher.getAuthTag().copy(sealed, 33)
      return sealed
    },
    open(aad, sealed) {
      if (sealed.length < overhead || sealed[0] !== format) throw new SealBroken('not a sealed value of a known format')
      const decipher = createDecipheriv('aes-256-gcm', keyFor(sealed), sealed.subarray(21, 33))
      decipher.setAAD(associated(aad))
      decipher.setAuthTag(sealed.subarray(33, 49))
      const plain = decipher.update(sealed.subarray(overhead))
      try {
        decipher.final()
      } catch (cause) {
        throw new SealBroken('a sealed value does not open: it was changed, or it belongs to another field', { cause })
      }
      return plain
    },
    sealText: (aad, plain) => textPrefix + self.seal(aad, Buffer.from(plain)).toString('base64url'),
    openText(aad, sealed) {
      if (!isSealedText(sealed)) throw new SealBroken('not a sealed text')
      return self.open(aad, Buffer.from(sealed.slice(textPrefix.length), 'base64url')).toString()
    },
    fingerprint(content) {
      const hmac = createHmac('sha256', hmacKey)
      for (const part of content) hmac.update(part)
      return hmac.digest('hex')
    },
    blindingOf: (sealed) =>
      createHmac('sha256', hmacKey)
        .update('commit:')
        // Salt and nonce together are unique to each sealed value.
        .update(Buffer.from(sealed.slice(textPrefix.length), 'base64url').subarray(5, 33))
        .digest('base64url'),
  }
  return self
}
