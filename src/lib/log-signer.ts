import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { ulid } from 'ulid'
import type { ServiceSecrets } from './keyring.ts'

/*
 * Heads of the log are signed notes with checkpoints in them (https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint), signed by Ed25519.
 * So tools for transparency logs can check them.
 */

/** A head of the log: the number of its leaves and the root of their Merkle tree. */
export interface Head {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}
export interface LogSigner {
  readonly origin: string
  /** The key that verifies the signatures: name, key id and key, joined by `+`. */
  readonly vkey: string
  /** Returns the signed note of a head. The same head always gives the same note. */
  sign(head: Pick<Head, 'size' | 'root'>): string
}

const seedLength = 32
/** The bytes before the seed of an Ed25519 key in PKCS #8, and before the public key in SPKI (RFC 8410). */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const spki = Buffer.from('302a300506032b6570032100', 'hex')
/** The type of an Ed25519 signature in a signed note. */
const ed25519 = 1

/** Opens the key that signs heads. The key and the name of the log are created if they are missing. */
export async function openLogSigner(secrets: ServiceSecrets): Promise<LogSigner> {
  let secret = await secrets.secret('log-signing', seedLength)
  if (secret.length === seedLength) {
    await secrets.replaceSecret('log-signing', Buffer.concat([secret, Buffer.from(`kolbak/${ulid()}`)]))
    secret = await secrets.secret('log-signing', seedLength)
  }
  return createLogSigner(secret.subarray(0, seedLength), secret.toString('latin1', seedLength))
}

/** Gives the log another name after a loss. The number at the end of the name counts the losses. */
export async function renameLog(secrets: ServiceSecrets, origin: string): Promise<void> {
  const secret = await secrets.secret('log-signing', seedLength)
  await secrets.replaceSecret('log-signing', Buffer.concat([secret.subarray(0, seedLength), Buffer.from(origin)]))
}

/** @param seed the 32 bytes of the private key */
export function createLogSigner(seed: Buffer, origin: string): LogSigner {
  const key = createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(spki.length)
  const id = keyId(origin, publicKey)
  return {
    origin,
    vkey: `${origin}+${id.toString('hex')}+${Buffer.concat([Buffer.from([ed25519]), publicKey]).toString('base64')}`,
    sign({ size, root }) {
      const text = noteText({ origin, size, root })
      const signature = Buffer.concat([id, sign(null, Buffer.from(text), key)]).toString('base64')
      return `${text}\n— ${origin} ${signature}\n`
    },
  }
}

const noteText = ({ origin, size, root }: Head): string => `${origin}\n${size}\n${root.toString('base64')}\n`
const keyId = (name: string, publicKey: Buffer): Buffer =>
  createHash('sha256')
    .update(Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ed25519]), publicKey]))
    .digest()
    .subarray(0, 4)

/** Returns the head in a signed note, or null if the note has another form. The signature is not checked. */
export function readHead(note: string): Head | null {
  const [, origin, size, root] = /^([^\n]+)\n(0|[1-9]\d{0,15})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*\n— /.exec(note) ?? []
  return origin === undefined || size === undefined || root === undefined
    ? null
    : { origin, size: Number(size), root: Buffer.from(root, 'base64') }
}

/** Returns the head of a signed note if the key has signed it, or null. */
export function openHead(note: string, vkey: string): Head | null {
  const head = readHead(note)
  const match = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey)
  if (head === null || match === null || match[1] !== head.origin) return null
  const publicKey = Buffer.from(match[3]!, 'base64').subarray(1)
  const verifier: KeyObject = createPublicKey({ key: Buffer.concat([spki, publicKey]), format: 'der', type: 'spki' })
  const end = note.indexOf('\n\n')
  for (const line of note.slice(end + 2).split('\n')) {
    const [, name, signature] = /^— (\S+) (\S+)$/.exec(line) ?? []
    if (name !== head.origin || signature === undefined) continue
    const bytes = Buffer.from(signature, 'base64')
    if (!bytes.subarray(0, 4).equals(keyId(name, publicKey))) continue
    return verify(null, Buffer.from(note.slice(0, end + 1)), verifier, bytes.subarray(4)) ? head : null
  }
  return null
}
