import {
  type ClientId,
  type DeliveryId,
  isUlid,
  type JobId,
  type KeyId,
  type MessageId,
  type TenantId,
  type WebhookId,
} from '../events/ids.ts'
import { isUuid } from '../events/uuid.ts'
import { notFound } from './errors.ts'

const isKeyId = (text: string): text is KeyId => isUlid(text)
const isWebhookId = (text: string): text is WebhookId => isUlid(text)
const isJobId = (text: string): text is JobId => isUlid(text)
const isTenantId = (text: string): text is TenantId => isUlid(text)
export const isClientId = (text: string): text is ClientId => /^[A-Za-z0-9_.-]{1,255}$/.test(text)
const isDeliveryId = (text: string): text is DeliveryId => isUuid(text)
const isMessageId = (text: string): text is MessageId => /^[A-Za-z0-9_:-]{1,255}$/.test(text)

/** Returns a function that parses an id. The function throws not_found for a text that cannot be an id, because no resource can have it. */
const createParser =
  <T extends string>(isId: (text: string) => text is T & string) =>
  (text: string): T => {
    if (!isId(text)) throw notFound()
    return text
  }
export const parseKeyId = createParser<KeyId>(isKeyId)
export const parseWebhookId = createParser<WebhookId>(isWebhookId)
export const parseJobId = createParser<JobId>(isJobId)
export const parseDeliveryId = createParser<DeliveryId>(isDeliveryId)
export const parseMessageId = createParser<MessageId>(isMessageId)
export const parseTenantId = createParser<TenantId>(isTenantId)
export const parseClientId = createParser<ClientId>(isClientId)
