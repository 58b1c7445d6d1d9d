import { randomBytes } from 'node:crypto'
import { Registry } from 'prom-client'
import type { DispatcherDeps } from '../../src/dispatch/dispatcher.ts'
import type { DispatchMetrics } from '../../src/dispatch/metrics.ts'
import type { WebhookCache } from '../../src/dispatch/webhook-cache.ts'
import type { DeliveryId, EventId, MessageId, TenantId, WebhookId } from '../../src/events/ids.ts'
import type { Keyring } from '../../src/lib/keyring.ts'
import { type Log, silentLog } from '../../src/lib/log.ts'
import { createVault } from '../../src/lib/seal.ts'
import { createWake } from '../../src/lib/wake.ts'
import type { MessageBus } from '../../src/ports/message-bus.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { everyLease } from '../support/lease-shares.ts'
import { epochOf } from './clock.ts'
import type { Code } from './code.ts'
import { ModelDeliveryLog, stateReadKey } from './delivery-log.ts'
import { ModelEvents } from './event-store.ts'
import { batchSealerOf } from './log-writer.ts'
import { ModelBus } from './message-bus.ts'
import { Postgres } from './postgres.ts'
import { Receivers, requestMs } from './receivers.ts'
import { context, type Life, type Simulation } from './simulation.ts'
import { insertEntries } from './statements.ts'
import { emptyTables } from './tables.ts'
import { webhookModel } from './webhook-model.ts'

/** Seconds before each retry. */
export const retry_delays = [0.3, 1, 2]
const claimMs = 2_500
export interface Violation {
  /** The name of the invariant. */
  readonly invariant: string
  readonly text: string
}
/** The record of a run: the responses that callers got, and the events. The invariants are checked against it. */
export interface Truth {
  /** The time of the first post of each message, by `indexKey`. A post without a response counts too, because its message may be stored. */
  readonly firstPosted: Map<string, number>
  readonly accepted: {
    tenant: TenantId
    message: MessageId
    content: string
    fingerprint: string
    target: WebhookId | null
  }[]
  /** The tenant of each created webhook, and the time of its 201. */
  readonly created: Map<WebhookId, { tenant: TenantId; at: number }>
  readonly replays: { delivery: DeliveryId; webhook: WebhookId; chain: number }[]
  readonly garbage: Set<string>
  /** The records with a message whose matching throws, as `partition/offset`. */
  readonly faulty: Set<string>
  /** The ends of chains that the retry manager has read, each with the time of that read. */
  readonly ended: Map<DeliveryId, { chain: number; at: number }[]>
  /** The forged events, and the webhook of each. */
  readonly forged: Map<EventId, WebhookId>
  /** The tenants with a legal hold. */
  readonly held: Set<TenantId>
}

const dataKey = randomBytes(32)
const oneVault = createVault({ key_id: 1, dataKey, keyOf: () => dataKey, fingerprintKey: dataKey })
export const keyring: Keyring = { cached: () => oneVault, vault: async () => oneVault, async create() {}, lookup: (_, value) => value }

/** Returns the metrics that all runs share, because they are not read, and creating them costs a tenth of a run. */
const metricsOf = (code: Code): DispatchMetrics => {
  const ofCode = metrics.get(code) ?? code.metrics.createDispatchMetrics(new Registry(), { inFlight: 0, waiting: 0 })
  metrics.set(code, ofCode)
  return ofCode
}
const metrics = new WeakMap<Code, DispatchMetrics>()

/** The event name of messages whose matching throws a TypeError. */
export const faultyEvent = 'order.faulty'
/** A webhook cache with a bug that one event name reveals. */
function failingOn(event: string, cache: WebhookCache): WebhookCache {
  const match: WebhookCache['match'] = (tenant, name) => {
    if (name === event) throw new TypeError('a bug in matching')
    return cache.match(tenant, name)
  }
  return Object.assign(Object.create(cache) as WebhookCache, { match })
}

interface WorldOptions {
  readonly dispatchers: number
  readonly projectors: number
  readonly partitions: number
  readonly slots: number
  readonly hasLogWriter: boolean
  readonly hasErasures: boolean
  /** Whether the records of the bus can be changed, as on Postgres. */
  readonly erasesRecords: boolean
}

/** The engines and the processes of one run. */
export class World {
  readonly simulation: Simulation
  readonly code: Code
  readonly events: ModelEvents
  readonly bus: ModelBus
  readonly log: ModelDeliveryLog
  readonly receivers: Receivers
  readonly postgres: Postgres
  readonly tables = emptyTables()
  readonly violations: Violation[] = []
  readonly truth: Truth = {
    firstPosted: new Map(),
    accepted: [],
    created: new Map(),
    replays: [],
    garbage: new Set(),
    faulty: new Set(),
    ended: new Map(),
    forged: new Map(),
    held: new Set(),
  }
  /** Called with an offset before it is saved. */
  onSaved: (partition: number, offset: bigint) => void = () => {}
  /** Functions that stop the dispatchers, by name. */
  readonly stops = new Map<string, () => void>()
  /** The bus as each dispatcher sees it, by the dispatcher's name. A process that is also an API produces to it. */
  readonly producers = new Map<string, Pick<MessageBus, 'produce'>>()
  readonly dispatchers: number
  /** Whether the projectors seal the events of day streams in batches. */
  readonly hasLogWriter: boolean
  private readonly hasErasures: boolean
  readonly erasesRecords: boolean
  /** The slots of one dispatcher. They are few, so that many deliveries are parked. */
  private readonly slots: number

  constructor(simulation: Simulation, code: Code, options: WorldOptions) {
    this.simulation = simulation
    this.code = code
    this.dispatchers = options.dispatchers
    this.slots = options.slots
    this.hasLogWriter = options.hasLogWriter
    this.hasErasures = options.hasErasures
    this.erasesRecords = options.erasesRecords
    this.events = new ModelEvents(simulation, code)
    this.bus = new ModelBus(simulation, options.partitions)
    this.log = new ModelDeliveryLog(simulation)
    this.receivers = new Receivers(simulation)
    this.postgres = new Postgres(simulation, this.tables, {
      iso: (time) => new Date(Math.floor(epochOf(simulation) + time)).toISOString(),
      onStateRead: (life, delivery) => this.log.stateReadAt.set(stateReadKey(life, delivery, false), simulation.now),
      onSaved: (partition, offset) => this.onSaved(partition, offset),
      onEnded: (delivery, chain) =>
        this.truth.ended.set(delivery, [...(this.truth.ended.get(delivery) ?? []), { chain, at: simulation.now }]),
    })
    this.bus.insertEntries = (record, placeOf, match) => insertEntries(this.tables, record, placeOf, match)
    simulation.errorOf = (engine) =>
      engine === 'events'
        ? new code.eventStore.StoreUnavailable('no response')
        : engine === 'bus'
          ? new code.messageBus.BusUnavailable('no response')
          : Object.assign(new Error(`${engine} did not respond`), { code: engine === 'postgres' ? '08006' : 'delivery_log_unavailable' })
    simulation.start('api', () => {})
    for (let i = 1; i <= options.dispatchers; i++) simulation.start(`dispatcher${i}`, (life) => this.dispatcher(life))
    for (let i = 1; i <= options.projectors; i++) simulation.start(`projector${i}`, (life) => this.projector(life))
  }
  violate(invariant: string, text: string): void {
    this.simulation.note(() => `VIOLATION ${invariant}: ${text}`)
    this.violations.push({ invariant, text })
  }

  /** Returns a log that writes warnings and errors to the trace. */
  private logOf(life: Life): Log {
    const say = (fields: object, message: string) =>
      this.simulation.note(() => `${life.id} ${message} ${(fields as { error?: unknown }).error ?? ''}`)
    return { ...silentLog, warn: say, error: say }
  }
  /** Starts the parts of a dispatcher as `startDispatcher` does, with simulated receivers. */
  private dispatcher(life: Life): void {
    const { code, events: store, tables: _, receivers } = this
    const pool = this.postgres.pool()
    const log = this.logOf(life)
    const bus = this.bus.of(life)
    const deliveryLog = code.liveDeliveryLog.createLiveDeliveryLog({ log: this.log, pool })
    const dueWake: DispatcherDeps['dueWake'] = createWake()
    const webhookCache = failingOn(
      faultyEvent,
      code.webhookCache.createWebhookCache({
        changes: (cursor) => code.webhooks.changedSince(pool, cursor),
        keyring,
        log,
      }),
    )
    const schedule = code.schedule.createSchedule({ pool, owner: life.id, claimMs })
    const slots = code.slots.createSlots({
      total: this.slots,
      perWebhook: 2,
      perHighThroughputWebhook: 3,
      dispatchers: () => this.dispatchers,
      // The memory has room for two deliveries of all webhooks, and one of a webhook that does not respond well.
      maxWaitingBytes: 900,
      maxUnresponsiveBytes: 450,
      longestWaitMs: 300,
      longestUnresponsiveWaitMs: 150,
    })
    const metrics = metricsOf(code)
    const stageHealth = new code.stageHealth.StageHealth(log)
    const { now, random } = { now: Date.now, random: Math.random }
    const real = code.deliver.createDeliverer({
      store,
      keyring,
      webhookCache,
      slots,
      schedule,
      sender: receivers.sender,
      retryDelays: retry_delays,
      metrics,
      log,
      now,
      random,
      macs: code.macs,
      readsImplied: () => true,
    })
    // A request does not show its chain, so the receivers of the model get it from the context.
    const deliver: typeof real = (ref, origin) =>
      context.run({ simulation: this.simulation, life, delivery: { ref, fromTable: origin.fromTable } }, () => real(ref, origin))
    const gate = code.gate.createRoutingGate({ head: () => store.head(webhookModel.families), webhookCache, log })
    // The model allows that a request is repeated, and a history that is behind repeats more of them.
    const historyCatchUp = { reachHead: async () => {} }
    const index = code.messageIndex.createMessageIndex(pool)
    const router = code.route.createRouter({
      gate,
      webhookCache,
      index,
      deliveryLog,
      historyCatchUp,
      schedule,
      store,
      deliver,
      metrics,
      stageHealth,
      log,
      now,
      readsMessagesRouted: () => true,
    })
    bus.indexWith?.(code.storedMatch.createStoredMatcher({ gate, webhookCache, log }))
    this.producers.set(life.name, bus)
    const dueDeps = {
      schedule,
      deliveryLog,
      historyCatchUp,
      webhookCache,
      slots,
      deliver,
      stageHealth,
      log,
      claimMs,
      restMs: () => 2_000,
    }
    const stopping = new AbortController()
    const { signal } = stopping
    const offsets = code.offsets.createOffsets(pool, this.bus.identity)
    const running = Promise.all([
      code.consume.consume({ bus, offsets, router, pool, metrics, stageHealth, log, maxInProgress: 12 }, signal),
      code.due.deliverScheduled({ ...dueDeps, requestMs, wake: dueWake, pollMs: 300 }, signal),
    ])
    running.catch((error: unknown) => this.violate('stuck', `${life.id} failed: ${error}`))
    const stop = async () => {
      this.stops.delete(life.name)
      bus.indexWith?.(null)
      stopping.abort()
      slots.close()
      await gate.stop()
      await running
      slots.stop()
      this.simulation.note(() => `STOPPED ${life.id}`)
      this.simulation.end(life.name, 50)
    }
    this.stops.set(life.name, () => this.simulation.resume({ simulation: this.simulation, life }, () => void stop()))
  }

  private projector(life: Life): void {
    const { code, events: store } = this
    const pool = this.postgres.pool()
    const log = this.logOf(life)
    const { macs } = code
    const streams = code.commandStreams.createCommandStreams(store, keyring, { macs })
    const deps = { store, pool, shares: everyLease, progress: createProjectionProgress(), log, macs }
    const projections = [
      webhookModel,
      {
        ...code.deliveries.deliveries(this.log, code.retries.scheduleRetries),
        ...(this.hasLogWriter ? { observe: batchSealerOf(this, { store, streams, pool, log }).observe } : {}),
      },
      code.endpointManager.createEndpointManager({
        streams,
        pool,
        // No webhook can fail for days here, because a run is too short.
        waiter: { waitFor: async () => false },
        log,
        now: () => new Date(Date.now()).toISOString(),
      }),
    ]
    if (this.hasErasures)
      projections.push(
        code.erasureManager.createErasureManager({
          ...{ streams, pool, log, deliveryLog: this.log, bus: this.erasesRecords ? this.bus : {} },
          index: code.messageIndex.createMessageIndex(pool),
          keyring: { destroy: async () => {} },
          now: () => new Date(Date.now()).toISOString(),
          onDue() {},
          onKeysDestroyed() {},
        }),
      )
    for (const projection of projections) code.buildRunner.startBuildRunner(deps, projection, 1)
  }
}
