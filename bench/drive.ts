import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import type { Kolbak } from './kolbak.ts'
import type { Load } from './load.ts'
import { costOf, postgresPids } from './processes.ts'
import type { Produced, Work } from './producers.ts'

/** The figures of one load. Those "per event" are divided by the number of accepted events. */
export interface Result {
  readonly accepted: number
  readonly acceptedPerSecond: number
  readonly delivered: number
  readonly deliveredPerSecond: number
  readonly acceptMs: Percentiles
  readonly endToEndMs: Percentiles
  readonly lost: number
  readonly repeated: number
  readonly failures: Produced['failures']
  /** CPU time of the target's processes per event, in µs. */
  readonly cpuMicros: number
  /** CPU time of Postgres per event, in µs. */
  readonly postgresCpuMicros: number
  /** Bytes written to disk per event, by the target and by Postgres. */
  readonly writtenBytes: number
  /** Bytes of the write-ahead log per event. */
  readonly walBytes: number
  /** Bytes by which tables and indexes grew, per event. */
  readonly storedBytes: number
  readonly commitsPerEvent: number
  /** Memory (PSS) of the target and of Postgres after the load. */
  readonly memoryMiB: number
}
type Percentiles = readonly [p50: number, p95: number, p99: number]

/** The service that gets a load: Kolbak, or the floor program, which is the cheapest possible one (bench/floor.ts). */
export interface Target {
  readonly url: string
  readonly dataDir: string
  /** Returns the ids of the target's processes, without those of Postgres. */
  pids(): Promise<number[]>
  readonly database: pg.Client
}
export const targetOf = ({ url, dataDir, pids, database }: Kolbak): Target => ({ url, dataDir, pids, database })

/** The cost of a target since its start. */
export interface Costs {
  readonly atMs: number
  /** Seconds of CPU. */
  readonly cpu: number
  readonly postgresCpu: number
  readonly written: number
  readonly commits: number
  readonly wal: number
  readonly stored: number
  /** Bytes of memory now. */
  readonly memory: number
}
export async function costsOf({ pids, dataDir, database }: Target): Promise<Costs> {
  await database.query('select pg_stat_force_next_flush()')
  const { rows } = await database.query<{ commits: string; wal: string; stored: string }>(
    `select xact_commit as commits, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal, pg_database_size(datname) as stored
     from pg_stat_database where datname = current_database()`,
  )
  const [serviceCosts, postgres] = [await costOf(await pids()), await costOf(await postgresPids(dataDir))]
  return {
    atMs: performance.now(),
    cpu: serviceCosts.cpu,
    postgresCpu: postgres.cpu,
    written: serviceCosts.written + postgres.written,
    commits: Number(rows[0]!.commits),
    wal: Number(rows[0]!.wal),
    stored: Number(rows[0]!.stored),
    memory: serviceCosts.memory + postgres.memory,
  }
}

/** For this many milliseconds after the last delivery, the target may still work for the load: it records attempts and writes gathered events. */
const workAfterLoadMs = 1_000

/** Milliseconds at the start of a load that its percentiles leave out. */
const settlingMs = (seconds: number): number => Math.min(3_000, seconds * 250)

/** Sends a load to a target and returns the figures. Waits until all deliveries have arrived, or none has arrived for 10 s. */
export async function measureLoad(
  target: Target,
  load: Load,
  { count = 0, ...work }: Omit<Work, 'url' | 'settlingMs' | 'count'> & { count?: number },
  deliveriesPerEvent: number,
): Promise<Result> {
  const settling = count > 0 ? 0 : settlingMs(work.seconds)
  await load.reset(settling)
  const before = await costsOf(target)
  const began = performance.now()
  const produced = await load.produce({ ...work, count, settlingMs: settling, url: target.url })
  const expected = produced.accepted * deliveriesPerEvent
  let received = await load.received()
  let lastChange = performance.now()
  let tookMs = lastChange - began
  while (received.deliveries < expected && performance.now() - lastChange < 10_000) {
    await pause(20)
    const latest = await load.received()
    if (latest.deliveries > received.deliveries) {
      lastChange = performance.now()
      tookMs = lastChange - began
    }
    received = latest
  }
  await pause(workAfterLoadMs)
  const after = await costsOf(target)
  const perEvent = (cost: keyof Costs) => (after[cost] - before[cost]) / produced.accepted
  return {
    accepted: produced.accepted,
    acceptedPerSecond: produced.acceptedPerSecond,
    delivered: received.deliveries,
    deliveredPerSecond: received.deliveries / (tookMs / 1_000),
    acceptMs: [produced.p50, produced.p95, produced.p99],
    endToEndMs: [received.p50, received.p95, received.p99],
    lost: Math.max(0, expected - received.deliveries),
    repeated: received.requests - received.deliveries,
    failures: produced.failures,
    cpuMicros: perEvent('cpu') * 1e6,
    postgresCpuMicros: perEvent('postgresCpu') * 1e6,
    writtenBytes: perEvent('written'),
    walBytes: perEvent('wal'),
    storedBytes: perEvent('stored'),
    commitsPerEvent: perEvent('commits'),
    memoryMiB: after.memory / 2 ** 20,
  }
}

/** The figures of a target that gets no load. */
export interface AtRest {
  /** CPU time of the target's processes, in percent of one core. */
  readonly cpuPercent: number
  readonly postgresCpuPercent: number
  readonly commitsPerSecond: number
  readonly memoryMiB: number
}

/** Lets a target settle after its start or a load, and then measures what it costs while it waits for events. */
export async function measureAtRest(target: Target, settlingSeconds: number, seconds: number): Promise<AtRest> {
  await pause(settlingSeconds * 1_000)
  const before = await costsOf(target)
  await pause(seconds * 1_000)
  const after = await costsOf(target)
  const perSecond = (cost: keyof Costs) => (after[cost] - before[cost]) / ((after.atMs - before.atMs) / 1_000)
  return {
    cpuPercent: perSecond('cpu') * 100,
    postgresCpuPercent: perSecond('postgresCpu') * 100,
    commitsPerSecond: perSecond('commits'),
    memoryMiB: after.memory / 2 ** 20,
  }
}
