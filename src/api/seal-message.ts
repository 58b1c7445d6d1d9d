import type { MessageId, TenantId } from '../events/ids.ts'
import type { Message } from '../events/message-record.ts'
import { sealBody } from '../events/sealed-body.ts'
import type { Vault } from '../lib/seal.ts'
import { fingerprintParts, messageBody } from './message-body.ts'
import type { PostEvent } from './schemas/event.ts'

/** Returns a message for the bus, with its fingerprint and its sealed body. @param payload the bytes of the JSON member as the producer sent them */
export function sealMessage(
  vault: Vault,
  tenant: TenantId,
  id: MessageId,
  { event, event_time = null, source = null }: Omit<PostEvent, 'id' | 'payload'>,
  payload: Buffer,
): Message {
  const content = { id, event, event_time, source }
  return {
    ...content,
    fingerprint: vault.fingerprint(fingerprintParts(content, payload)),
    sealedBody: sealBody(vault, tenant, id, messageBody(content, payload)),
  }
}
