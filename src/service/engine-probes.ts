import { setTimeout as sleep } from 'node:timers/promises'
import type { MessageId, Place, TenantId } from '../events/ids.ts'
import { codeOf } from '../lib/errors.ts'
import type { ArchivedBody } from '../ports/delivery-log.ts'
import { type Engines, postgresEngines } from './engines/table.ts'
import type { Shared } from './shared.ts'

/** Asks an engine whether it responds. */
export interface Probe {
  readonly name: string
  /** Returns why this process cannot use the engine, or null. */
  problem(): Promise<string | null>
}

/** Milliseconds without a response after which a failing engine is a problem. A Kafka without a broker needs 9 s to elect other leaders. */
const lastingMs = 10_000
/** Milliseconds for which the result of a question is used again, so that frequent health checks do not load the engine. */
const validMs = 2_000
/** The most milliseconds that a health check waits for the engine. */
const waitMs = 1_000

interface ProbeTimes {
  readonly lastingMs: number
  readonly validMs: number
  readonly waitMs: number
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
}

/** Makes a probe that asks the engine only when `problem` is called. @param ask fails if the engine cannot be used */
export function createProbe(name: string, ask: () => Promise<unknown>, times: Partial<ProbeTimes> = {}): Probe {
  const { now, ...limits } = { lastingMs, validMs, waitMs, now: () => performance.now(), ...times }
  let asking: { readonly since: number; readonly ended: Promise<void> } | null = null
  let failing: { readonly since: number; readonly cause: string } | null = null
  let validUntil = Number.NEGATIVE_INFINITY
  const askNow = async (since: number) => {
    try {
      await ask()
      failing = null
    } catch (error) {
      failing = { since: failing?.since ?? since, cause: codeOf(error) ?? (error instanceof Error ? error.message : 'error') }
    }
    validUntil = now() + limits.validMs
    asking = null
  }
  return {
    name,
    async problem() {
      if (asking === null && now() >= validUntil) {
        const since = now()
        asking = { since, ended: askNow(since) }
      }
      if (asking !== null) await Promise.race([asking.ended, sleep(limits.waitMs, undefined, { ref: false })])
      const since = failing?.since ?? asking?.since ?? now()
      const tookMs = now() - since
      if (tookMs < limits.lastingMs) return null
      return `does not respond correctly for ${Math.round(tookMs / 1_000)} s (${failing?.cause ?? 'no response'})`
    },
  }
}

/** A message that no tenant has. */
const noMessage: Omit<ArchivedBody, 'sealedBody'> = {
  ...{ tenant: '0'.repeat(26) as TenantId, message: 'probe' as MessageId, place: 'probe/0/0/0' as Place },
  ...{ fingerprint: '0'.repeat(64), event: 'probe', accepted_at: '2000-01-01T00:00:00.000Z' },
}

/** Returns a probe for each engine that the roles of this process need. The event store reports its own state. */
export function createEngineProbes({ config, pools, bus, deliveryLog }: Shared, engines: Engines): Probe[] {
  const has = (...roles: Shared['config']['KOLBAK_ROLES']) => roles.some((role) => config.KOLBAK_ROLES.includes(role))
  const probes = [createProbe('database', () => pools.reads.query('select 1'))]
  if (engines.message_bus !== postgresEngines.message_bus && has('api', 'dispatcher'))
    probes.push(createProbe('message bus', () => bus.ends()))
  // An API process accepts messages without the delivery log, so its readiness does not depend on it.
  if (engines.delivery_log !== postgresEngines.delivery_log && has('dispatcher', 'projector'))
    probes.push(createProbe('delivery log', () => deliveryLog.bodies([noMessage])))
  return probes
}
