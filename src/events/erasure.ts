import { createHash } from 'node:crypto'
import type { FieldsOf } from './fields.ts'
import type { MessageRef } from './refs.ts'

export interface ErasureEvents {
  /** Somebody asked to erase the payload of a message. The metadata says who, when and why. */
  PayloadErasureAsked: MessageRef
  /** The bytes are gone from the archive and from the records of the bus that Kolbak can write to. A proof of this event is the certificate. */
  PayloadErased: Pick<MessageRef, 'tenant' | 'message' | 'place'>
}
export const erasureEventFields = {
  tenant: 'clear',
  message: 'clear',
  place: 'clear',
  fingerprint: 'clear',
  event: 'clear',
  accepted_at: 'clear',
} as const satisfies FieldsOf<ErasureEvents>

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Returns the id of the erasure of a message's payload. It has the form of a ULID and follows from the message, so that a message has one erasure. */
export function erasureId({ tenant, message, place }: Pick<MessageRef, 'tenant' | 'message' | 'place'>): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([tenant, message, place]))
    .digest('hex')
  let bits = BigInt(`0x${hash.slice(0, 32)}`)
  let id = ''
  for (let i = 0; i < 26; i++) {
    id = alphabet[Number(bits & 31n)] + id
    bits >>= 5n
  }
  return id
}
