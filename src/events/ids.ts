/** Identifiers are branded strings, so that a webhook's id cannot stand where a tenant's is wanted. */
declare const brand: unique symbol
export type Brand<T, B extends string> = T & { readonly [brand]: B }

/** ULIDs, 26 characters of Crockford's base 32, made by whoever issues the command. */
export type TenantId = Brand<string, 'TenantId'>
export type KeyId = Brand<string, 'KeyId'>
export type WebhookId = Brand<string, 'WebhookId'>
export type JobId = Brand<string, 'JobId'>
/** 1-255 of `[A-Za-z0-9_.-]`: unique over all tenants. */
export type ClientId = Brand<string, 'ClientId'>
/** The producer's id of a message: unique within its tenant for the retention time. 1-255 of `[A-Za-z0-9_:-]`. */
export type MessageId = Brand<string, 'MessageId'>
/** UUIDv5(tenant, message, place, webhook): one message owed to one webhook. */
export type DeliveryId = Brand<string, 'DeliveryId'>
/** A UUID, made before the append and kept through its retries: it makes an append idempotent. */
export type EventId = Brand<string, 'EventId'>
/** Where the bus keeps a message: `<bus>/<partition>/<offset>/<index in the record>`. */
export type Place = Brand<string, 'Place'>

const ulidPattern = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
export const isUlid = (text: string): boolean => ulidPattern.test(text)

/** The tenant made at the first start; only its clients can hold the scope `admin`. A fixed ULID, so that two processes cannot both make one. */
export const defaultTenant = '00000000000000000000000000' as TenantId
