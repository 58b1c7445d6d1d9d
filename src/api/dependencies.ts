import type { Pool } from 'pg'
import type { Registry } from 'prom-client'
import type { CommandStreams } from '../commands/command-streams.ts'
import type { DeactivationReason } from '../events/webhook.ts'
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

export interface HealthReport {
  readonly ready: boolean
  /** One check for each part of the service. `message` describes its state, and is shown only to operators. */
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly message?: string }[]
}

/** The state of the whole service. Times are RFC 3339. Numbers of rows are counted up to a limit (`service/backlog.ts`). */
export interface OperationsReport {
  readonly version: string
  readonly checks: HealthReport['checks']
  readonly processes: readonly {
    readonly id: string
    readonly roles: readonly string[]
    readonly started_at: string
    readonly seen_at: string
  }[]
  readonly engines: readonly { readonly port: string; readonly identity: string; readonly since: string }[]
  readonly bus: {
    readonly unread: number
    readonly oldest_record_seconds: number
    /** The number of records that were ever stored, and of those that are done. Their growth shows whether the service catches up. */
    readonly produced: number
    readonly done: number
    readonly partitions: readonly { readonly partition: number; readonly unread: number }[]
  }
  readonly schedule: {
    readonly retrying: number
    readonly oldest_due_seconds: number
    readonly parked: Readonly<Record<'slot' | 'tenant_suspended', number>>
    readonly most_parked: readonly { readonly tenant_id: string; readonly webhook_id: string; readonly count: number }[]
  }
  readonly dead_letters: number
  readonly webhooks: {
    readonly active: number
    readonly failing: number
    readonly deactivated: Readonly<Record<DeactivationReason, number>>
  }
  readonly projections: readonly {
    readonly name: string
    readonly build: number
    readonly version: number
    readonly is_live: boolean
    /** Null if another process runs the projection. */
    readonly state: string | null
    readonly error: string | null
    readonly lag_seconds: number | null
    readonly quarantined: number
    readonly updated_at: string
  }[]
  readonly quarantined_streams: readonly {
    readonly projection: string
    readonly stream: string
    readonly revision: number
    readonly error: string
    readonly since: string
  }[]
  readonly leases: readonly { readonly name: string; readonly owner: string; readonly until: string }[]
  readonly running_jobs: number
  readonly database_bytes: number
  /** The replication slots of the server. A slot without a reader keeps its log, which fills the disk. */
  readonly replication_slots: readonly { readonly name: string; readonly is_active: boolean; readonly retained_bytes: number }[]
  /** The file system of the data folder, or null if the process has no such folder. */
  readonly disk: { readonly total_bytes: number; readonly free_bytes: number } | null
  /** The last backup by `operate backup`, or null if there was none. */
  readonly last_backup: { readonly made_at: string; readonly age_seconds: number; readonly bytes: number; readonly rows: number } | null
  readonly retention_days: number
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
  readonly streams: CommandStreams
  readonly store: Pick<EventStore, 'append' | 'head' | 'identity' | 'read' | 'subscribe'>
  readonly bus: Pick<MessageBus, 'produce' | 'eraseBodies'>
  /**
   * Notes which messages are accepted by now. The returned function tells whether all of them are routed. It may return false for some time
   * after they are.
   */
  readonly noteAccepted: () => Promise<() => Promise<boolean>>
  readonly deliveryLog: Pick<BodyArchive, 'bodies'> & DeliveryReads
  readonly messages: Pick<MessageIndex, 'find' | 'list' | 'rejections' | 'withRejections'>
  readonly pool: Pool
  readonly keyring: Keyring
  /** Finds forged events. Without it, no event is checked. */
  readonly macs?: Pick<EventMacs, 'faultOf'>
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
