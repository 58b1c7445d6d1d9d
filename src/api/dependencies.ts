import type { Pool } from 'pg'
import type { Registry } from 'prom-client'
import type { CommandStreams } from '../commands/command-streams.ts'
import type { KeyId } from '../events/ids.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import type { BodyArchive, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import type { MessageIndex } from '../projections/message-index.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'

export interface KeyUseRecorder {
  /** @param time RFC 3339 */
  touch(key: KeyId, time: string): void
}
export interface HealthReport {
  readonly ready: boolean
  /** One a part of the service: `message` says what to do when it is not ok, and is shown to operators only. */
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly message?: string }[]
}

export interface ApiSettings {
  /** Shown in `/openapi.json`. */
  readonly version: string
  /** 32 bytes or more. */
  readonly jwtSecret: Buffer
  readonly tokenTtlSeconds: number
  readonly metricsToken?: string | undefined
  /** As Express's "trust proxy". */
  readonly trustProxy?: string | undefined
  readonly retentionDays: number
  /** Of a receiver: a chain of retries must end within the retention. */
  readonly requestTimeoutMs: number
  readonly maxWebhooksPerTenant: number
  /** Events that a client may post in a second, over all processes; a tenant may have its own. */
  readonly eventsPerSecond: number
  /** Requests that a client or key may make in a second elsewhere. */
  readonly requestsPerSecond: number
  /** Wrong credentials from one address within a minute; then 429. Default 100. */
  readonly failedCredentialsPerMinute?: number
  /** For the whole of a request to arrive. Default 30 s. */
  readonly slowRequestMs?: number
  /** How long `GET /v1/events/:id` waits for the message to be routed. Default 2 s. */
  readonly routingWaitMs?: number
  /** How long a change waits for its read model. Default 1 s. */
  readonly projectionWaitMs?: number
}

export interface ApiDependencies {
  readonly streams: CommandStreams
  readonly store: Pick<EventStore, 'append' | 'head'>
  readonly bus: Pick<MessageBus, 'produce'>
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & DeliveryReads
  readonly messages: Pick<MessageIndex, 'find' | 'list' | 'rejections'>
  readonly pool: Pool
  readonly keyring: Keyring
  readonly waiter: ProjectionWaiter
  readonly usage: KeyUseRecorder
  readonly addressPolicy: AddressPolicy
  /** How many processes run the API and share its limits. At least 1. */
  readonly processes: () => number
  readonly health: () => HealthReport | Promise<HealthReport>
  /** Where requests are counted. */
  readonly metrics: Registry
  /** What `/metrics` answers. */
  readonly scrape: () => Promise<string>
  readonly log: Log
  /** Milliseconds. */
  readonly now: () => number
  readonly settings: ApiSettings
}

/** The read models that changes wait for, by the names of their projections. */
export const readModels = { tenants: 'tenants', keys: 'api_keys', webhooks: 'webhooks', deliveries: 'deliveries' } as const
export const defaultWaits = { routingWaitMs: 2_000, projectionWaitMs: 1_000 } as const
