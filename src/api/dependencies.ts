import type { Pool } from 'pg'
import type { Registry } from 'prom-client'
import type { CommandStreams } from '../commands/command-streams.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import type { Notices } from '../lib/notices.ts'
import type { BodyArchive, DeliveryReads } from '../ports/delivery-log.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import type { KeyUsage } from '../projections/key-usage.ts'
import type { MessageIndex } from '../projections/message-index.ts'
import type { ProjectionWaiter } from '../projections/waiter.ts'
import type { AccessLog } from './access-log.ts'
import type { OperationsReport } from './responses.ts'

export interface HealthReport {
  readonly ready: boolean
  readonly checks: OperationsReport['checks']
}

export interface ApiSettings {
  /** The version that `/openapi.json` shows. */
  readonly version: string
  /** The secret that signs tokens, of at least 32 bytes. */
  readonly jwtSecret: Buffer
  readonly tokenTtlSeconds: number
  readonly metricsToken?: string | undefined
  /** The setting "trust proxy" of Express. */
  readonly trustProxy?: string | undefined
  /** Whether the dashboard is served at `/ui/`. Default false. */
  readonly hasUi?: boolean
  readonly retentionDays: number
  /** The time limit of a request to a receiver. It is part of the longest chain of retries, which must be shorter than the retention. */
  readonly requestTimeoutMs: number
  readonly maxWebhooksPerTenant: number
  /** The most levels of objects and arrays in a payload. */
  readonly maxPayloadDepth: number
  /** Events that a client may post per second, in all processes together. A tenant may have its own limit. */
  readonly eventsPerSecond: number
  /** Requests that a client or key may make per second on the other routes. A tenant may have its own limit. */
  readonly requestsPerSecond: number
  /** Wrong credentials that one address may send per minute before it gets 429. Default 100. */
  readonly failedCredentialsPerMinute?: number
  /** The milliseconds in which a whole request must arrive. Default 30,000. */
  readonly slowRequestMs?: number
  /** The most milliseconds that `GET /v1/events/:id` waits for the routing of the message. Default 2,000. */
  readonly routingWaitMs?: number
  /** The most milliseconds that a change waits for its read model. Default 1,000. */
  readonly projectionWaitMs?: number
}

export interface ApiDependencies {
  /** Keeps who read the audit log and who was refused. Without it, nothing is kept. */
  readonly access?: AccessLog
  readonly streams: CommandStreams
  readonly store: Pick<EventStore, 'append' | 'head' | 'identity' | 'read' | 'subscribe'>
  readonly bus: Pick<MessageBus, 'produce' | 'eraseBodies'>
  /**
   * Notes which messages are accepted by now. The returned function tells whether all of them are routed. It may return false for some time
   * after they are routed.
   */
  readonly noteAccepted: () => Promise<() => Promise<boolean>>
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & DeliveryReads
  readonly messages: Pick<MessageIndex, 'find' | 'list' | 'rejections' | 'withRejections'>
  readonly pool: Pool
  readonly keyring: Keyring
  /** Finds forged events, and makes the MACs of replays. */
  readonly macs: Pick<EventMacs, 'faultOf' | 'replayMacOf'>
  /** Returns the key that verifies the heads of the audit log, as a signed note names it. */
  logKey(): Promise<string>
  readonly waiter: ProjectionWaiter
  readonly usage: Pick<KeyUsage, 'touch'>
  readonly notices: Pick<Notices, 'tell'>
  readonly addressPolicy: AddressPolicy
  /** Returns how many processes run the API and share its limits. The number is at least 1. */
  readonly processes: () => number
  readonly health: () => HealthReport | Promise<HealthReport>
  /** Returns the state of the whole service. */
  readonly operations: () => Promise<OperationsReport>
  /** The registry in which requests are counted. */
  readonly metrics: Registry
  /** Returns the text for `/metrics`. */
  readonly scrape: () => Promise<string>
  readonly log: Log
  /** Returns the present time in milliseconds since 1970. */
  readonly now: () => number
  readonly settings: ApiSettings
}

export const defaultWaits = { routingWaitMs: 2_000, projectionWaitMs: 1_000 } as const
