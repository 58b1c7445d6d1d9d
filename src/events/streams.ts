import { isUlid, type KeyId, type TenantId, type WebhookId } from './ids.ts'

/** `command` streams are kept for ever; `day` streams have an age limit. */
export const families = {
  tenant: 'command',
  key: 'command',
  webhook: 'command',
  log: 'command',
  erasure: 'command',
  routing: 'day',
  attempts: 'day',
  access: 'day',
} as const
export type Family = keyof typeof families
export const everyFamily = Object.keys(families) as Family[]
/** The families of routing and of attempts, whose events are the history of deliveries, and of accesses. They are sealed in the same batches. */
export const dayFamilies: readonly Family[] = everyFamily.filter((family) => families[family] === 'day')
/** The families whose events are the history of deliveries. */
export const historyFamilies: readonly Family[] = dayFamilies.filter((family) => family !== 'access')
export type StreamName = `${Family}-${string}`

const idOf = (id: string): string => {
  // The error is a TypeError, because projections count a TypeError as a fault of the event and not of the store.
  if (!isUlid(id)) throw new TypeError(`not a ULID: ${JSON.stringify(id.slice(0, 40))}`)
  return id
}
/** `2026-11-24T08:00:00.000Z` -> `20261124` */
const dayOf = (time: string): string => time.slice(0, 10).replaceAll('-', '')

export const tenantStream = (id: TenantId): StreamName => `tenant-${idOf(id)}`
export const keyStream = (id: KeyId): StreamName => `key-${idOf(id)}`
export const webhookStream = (id: WebhookId): StreamName => `webhook-${idOf(id)}`
/** Returns the stream of the erasure of one message's payload. @param id the `erasureId` of the message */
export const erasureStream = (id: string): StreamName => `erasure-${idOf(id)}`
/**
 * Returns the name of a routing stream. The name contains the day of the message's acceptance, so that a repeated routing writes to the same stream.
 */
export const routingStream = (tenant: TenantId, accepted_at: string): StreamName => `routing-${idOf(tenant)}-${dayOf(accepted_at)}`
/**
 * Returns the name of an attempts stream. The name contains the day of the attempt, which is fixed together with the event's id before the request is
 * sent.
 */
export const attemptsStream = (webhook: WebhookId, time: string): StreamName => `attempts-${idOf(webhook)}-${dayOf(time)}`

/** Returns the name of the stream of one day that says who looked at a tenant, and who was refused. */
export const accessStream = (tenant: TenantId, time: string): StreamName => `access-${idOf(tenant)}-${dayOf(time)}`

const names = /^((tenant|key|webhook|log|erasure)-[0-9A-Z]{26}|(routing|attempts|access)-[0-9A-Z]{26}-\d{8})$/
/** Returns whether the name has the form of Kolbak's streams. In a shared store, another application's names may begin in the same way. */
export const isStreamName = (name: string): name is StreamName => names.test(name)
export const familyOf = (stream: StreamName): Family => stream.slice(0, stream.indexOf('-')) as Family
/** Returns the id in the name of a command stream. */
export const aggregateIn = (stream: StreamName): string => stream.slice(stream.indexOf('-') + 1)
export const isDayStream = (stream: StreamName): boolean => families[familyOf(stream)] === 'day'
/** Returns the day in the name of a day stream, as `yyyy-mm-dd`. */
export const dayOfStream = (stream: StreamName): string => {
  const day = stream.slice(-8)
  return `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`
}
