/** Identifiers are branded strings, so that the compiler refuses a webhook's id where a tenant's is expected. */
declare const brand: unique symbol
export type Brand<T, B extends string> = T & { readonly [brand]: B }

/**
 * Ids of tenants, keys, webhooks and jobs are ULIDs (26 characters of Crockford's base 32). They are chosen before the command that creates
 * the object.
 */
export type TenantId = Brand<string, 'TenantId'>
export type KeyId = Brand<string, 'KeyId'>
export type WebhookId = Brand<string, 'WebhookId'>
export type JobId = Brand<string, 'JobId'>
/** The id of an API client: 1-255 characters of `[A-Za-z0-9_.-]`, unique over all tenants. */
export type ClientId = Brand<string, 'ClientId'>
/** The producer's id of a message: 1-255 characters of `[A-Za-z0-9_:-]`, unique within its tenant for the retention time. */
export type MessageId = Brand<string, 'MessageId'>
/** Identifies one message owed to one webhook: UUIDv5(tenant, message, place, webhook). */
export type DeliveryId = Brand<string, 'DeliveryId'>
/** A UUID that is chosen before the append and kept through its retries, so that a repeated append stores the event once. */
export type EventId = Brand<string, 'EventId'>
/** The place of a message on the bus: `<bus>/<partition>/<offset>/<index in the record>`. */
export type Place = Brand<string, 'Place'>

const ulidPattern = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
export const isUlid = (text: string): boolean => ulidPattern.test(text)

/**
 * The tenant that the first start registers. Only its clients can have the scopes `admin` and `audit`. Its ULID is fixed, so that two processes cannot
 * register two tenants.
 */
export const defaultTenant = '00000000000000000000000000' as TenantId
