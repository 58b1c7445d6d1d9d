import type { MessageId, TenantId } from './ids.ts'
import { bodyAad } from './sealed-fields.ts'

interface BodySeal {
  seal(aad: readonly string[], plain: Buffer): Buffer
  open(aad: readonly string[], sealed: Buffer): Buffer
}

/**
 * The bodies that this process has sealed itself. Each is found by the buffer that `sealBody` returned, as long as that buffer is in memory. Such a body
 * need not be decrypted before it is sent.
 */
const ownBodies = new WeakMap<Buffer, Buffer>()

/** Seals the body of a message. */
export function sealBody(vault: BodySeal, tenant: TenantId, message: MessageId, body: Buffer): Buffer {
  const sealedBody = vault.seal(bodyAad(tenant, message), body)
  ownBodies.set(sealedBody, body)
  return sealedBody
}

/** Takes the place of a sealed body that was erased. A sealed body is never empty. */
export const erasedBody: Buffer = Buffer.alloc(0)
/** Returns whether a body was erased from the archive or from a record. */
export const isErased = (sealedBody: Buffer | null | undefined): boolean => sealedBody?.length === 0

/** Opens the sealed body of a message. Throws SealBroken when the bytes were changed or belong to another message. */
export const openBody = (vault: BodySeal, tenant: TenantId, message: MessageId, sealedBody: Buffer): Buffer =>
  ownBodies.get(sealedBody) ?? vault.open(bodyAad(tenant, message), sealedBody)
