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
  /** Returns a signed note. The text ends with a line feed, and its first line is not the name of the log, so that it is never read as a head. */
  signText(text: string): string
}

const seedLength = 32
/** The bytes before the seed of an Ed25519 key in PKCS #8, and before the public key in SPKI (RFC 8410). */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const spki = Buffer.from('302a300506032b6570032100', 'hex')
/** The types of signatures in signed notes: of a log, and of a witness (https://c2sp.org/tlog-cosignature). */
const [logKeyType, witnessKeyType] = [1, 4]

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
  const { key, publicKey } = keysOf(seed)
  const id = keyId(origin, logKeyType, publicKey)
  const signText = (text: string) => {
    const signature = Buffer.concat([id, sign(null, Buffer.from(text), key)]).toString('base64')
    return `${text}\n— ${origin} ${signature}\n`
  }
  return {
    origin,
    signText,
    vkey: vkeyOf(origin, logKeyType, publicKey),
    sign: ({ size, root }) => signText(noteText({ origin, size, root })),
  }
}

const keysOf = (seed: Buffer): { key: KeyObject; publicKey: Buffer } => {
  const key = createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: 'der', type: 'pkcs8' })
  return { key, publicKey: createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(spki.length) }
}
const vkeyOf = (name: string, type: number, publicKey: Buffer): string =>
  `${name}+${keyId(name, type, publicKey).toString('hex')}+${Buffer.concat([Buffer.from([type]), publicKey]).toString('base64')}`

/** Signs heads of other logs. The caller must have checked that each head extends all heads that were signed before. */
export interface Cosigner {
  readonly vkey: string
  /** Returns the line that is added to the note. @param time seconds since 1970 */
  cosign(note: string, time: number): string
}
/** @param seed the 32 bytes of the private key */
export function createCosigner(seed: Buffer, name: string): Cosigner {
  const { key, publicKey } = keysOf(seed)
  const id = keyId(name, witnessKeyType, publicKey)
  return {
    vkey: vkeyOf(name, witnessKeyType, publicKey),
    cosign(note, time) {
      const timestamp = Buffer.alloc(8)
      timestamp.writeBigUInt64BE(BigInt(time))
      const signature = sign(null, Buffer.from(cosignedText(note, time)), key)
      return `— ${name} ${Buffer.concat([id, timestamp, signature]).toString('base64')}\n`
    },
  }
}
const cosignedText = (note: string, time: number): string => `cosignature/v1\ntime ${time}\n${note.slice(0, note.lastIndexOf('\n\n') + 1)}`

/** Returns when a witness has signed a note (seconds since 1970), or null if it has not. @param vkey the key of the witness */
export function cosignedAt(note: string, vkey: string): number | null {
  const [, name, , key] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? []
  const bytes = Buffer.from(key ?? '', 'base64')
  if (name === undefined || bytes.length !== 33 || bytes[0] !== witnessKeyType) return null
  const publicKey = bytes.subarray(1)
  const verifier = createPublicKey({ key: Buffer.concat([spki, publicKey]), format: 'der', type: 'spki' })
  for (const line of note.slice(note.lastIndexOf('\n\n') + 2).split('\n')) {
    const [, signer, encoded] = /^— (\S+) (\S+)$/.exec(line) ?? []
    const signature = Buffer.from(encoded ?? '', 'base64')
    if (signer !== name || signature.length !== 76 || !signature.subarray(0, 4).equals(keyId(name, witnessKeyType, publicKey))) continue
    const time = Number(signature.readBigUInt64BE(4))
    if (verify(null, Buffer.from(cosignedText(note, time)), verifier, signature.subarray(12))) return time
  }
  return null
}

const noteText = ({ origin, size, root }: Head): string => `${origin}\n${size}\n${root.toString('base64')}\n`
const keyId = (name: string, type: number, publicKey: Buffer): Buffer =>
  createHash('sha256')
    .update(Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([type]), publicKey]))
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
    if (!bytes.subarray(0, 4).equals(keyId(name, logKeyType, publicKey))) continue
    return verify(null, Buffer.from(note.slice(0, end + 1)), verifier, bytes.subarray(4)) ? head : null
  }
  return null
}
