import { createHash } from 'node:crypto'

/** Kolbak's own name space for UUIDv5 (RFC 9562, 5.5); never to be changed, or redeliveries would get new ids. */
const namespace = Buffer.from('6ba1c8f0e5cb5d5f8d6c5a1f7c3e9b42', 'hex')

/** UUIDv5 of the parts joined by a line feed, which occurs in none of them. */
export const uuidV5 = (...parts: readonly string[]): string => uuidV5In(namespace, parts.join('\n'))

/** RFC 9562, 5.5: SHA-1 of the name space's 16 bytes and the name. */
export function uuidV5In(space: Buffer, name: string): string {
  const bytes = createHash('sha1').update(space).update(name).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x50
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
