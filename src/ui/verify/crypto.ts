import { hashes, verify as verifyEd25519 } from '@noble/ed25519'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { Buffer } from 'buffer/'

hashes.sha512 = sha512

/** The part of `node:crypto` that docs/verify.mjs uses. The functions of a browser cannot be used, because they are asynchronous. */
export function createHash(_algorithm: 'sha256') {
  const hash = sha256.create()
  const incremental = {
    update(data: string | Uint8Array) {
      hash.update(typeof data === 'string' ? Buffer.from(data) : data)
      return incremental
    },
    digest(encoding?: 'hex' | 'base64' | 'base64url') {
      const digest = Buffer.from(hash.digest())
      if (encoding === undefined) return digest
      if (encoding !== 'base64url') return digest.toString(encoding)
      return digest.toString('base64').replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
    },
  }
  return incremental
}

/** Returns the 32 bytes of an Ed25519 key in SPKI (RFC 8410). */
export const createPublicKey = ({ key }: { key: Uint8Array }): Uint8Array => key.subarray(-32)
/** Returns whether the signature is valid by RFC 8032, as Node checks it. */
export function verify(_algorithm: null, message: Uint8Array, key: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verifyEd25519(signature, message, key, { zip215: false })
  } catch {
    return false // the bytes are no signature or no key
  }
}
