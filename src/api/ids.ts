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
import { notFound } from './errors.ts'

const isKeyId = (text: string): text is KeyId => isUlid(text)
const isWebhookId = (text: string): text is WebhookId => isUlid(text)
const isJobId = (text: string): text is JobId => isUlid(text)
const isTenantId = (text: string): text is TenantId => isUlid(text)
const isClientId = (text: string): text is ClientId => /^[A-Za-z0-9_.-]{1,255}$/.test(text)
const isDeliveryId = (text: string): text is DeliveryId => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)
const isMessageId = (text: string): text is MessageId => /^[A-Za-z0-9_:-]{1,255}$/.test(text)

/** Answers the text as an id, or throws not_found: what cannot be an id names nothing. */
const id =
  <T extends string>(is: (text: string) => text is T & string) =>
  (text: string): T => {
    if (!is(text)) throw notFound()
    return text
  }
export const parseKeyId = id<KeyId>(isKeyId)
export const parseWebhookId = id<WebhookId>(isWebhookId)
export const parseJobId = id<JobId>(isJobId)
export const parseDeliveryId = id<DeliveryId>(isDeliveryId)
export const parseMessageId = id<MessageId>(isMessageId)
export const parseTenantId = id<TenantId>(isTenantId)
export const parseClientId = id<ClientId>(isClientId)
