import { setTimeout as pause } from 'node:timers/promises'
import { json, type Kolbak } from './kolbak.ts'
import { costOf, lineOf, postgresPids, start } from './processes.ts'
import type { Produced, Work } from './producers.ts'
import type { Received } from './receiver.ts'
import { settlingMs } from './scenarios.ts'

export interface Result {
  readonly accepted: number
  readonly acceptedPerSecond: number
  readonly delivered: number
  readonly deliveredPerSecond: number
  readonly acceptMs: readonly [p50: number, p95: number, p99: number]
  readonly endToEndMs: readonly [p50: number, p95: number, p99: number]
  readonly lost: number
  readonly duplicated: number
  readonly failures: Produced['failures']
  /** CPU time of the target's processes per event, in µs. */
  readonly cpuMicros: number
  /** CPU time of Postgres per event, in µs. */
  readonly postgresCpuMicros: number
  /** Bytes written to disk per event, by the target and by Postgres. */
  readonly writtenBytes: number
  readonly peakMiB: number
  readonly commitsPerEvent: number | null
}
/** The service that gets a load: Kolbak or the floor. */
export interface Target {
  readonly url: string
  readonly dataDir: string
  /** Returns the ids of the target's processes, without those of Postgres. */
  pids(): Promise<number[]>
  /** Returns the number of commits so far, or -1 if they are not counted. */
  commits(): Promise<number>
}
export const targetOf = ({ url, dataDir, pids, database }: Kolbak): Target => ({
  ...{ url, dataDir, pids },
  async commits() {
    await database.query('select pg_stat_force_next_flush()')
    const { rows } = await database.query('select xact_commit from pg_stat_database where datname = current_database()')
    return Number(rows[0].xact_commit)
  },
})

/** Sends a load to a target. Waits until all deliveries have arrived, or none has arrived for 10 s. */
export async function drive(target: Target, receiverUrl: string, work: Omit<Work, 'url'>, deliveriesPerEvent: number): Promise<Result> {
  await json(`${receiverUrl}/reset?settling=${settlingMs(work)}`)
  const readCosts = async () => ({
    own: await costOf(await target.pids()),
    pg: await costOf(await postgresPids(target.dataDir)),
    commits: await target.commits(),
  })
  const before = await readCosts()
  const began = performance.now()
  const load: Work = { ...work, url: target.url }
  const produced = await lineOf(start('producers.ts', [JSON.stringify(load)]), (line) => JSON.parse(line) as Produced)
  const expected = produced.accepted * deliveriesPerEvent
  let received = await json<Received>(receiverUrl)
  let lastChange = performance.now()
  let tookMs = lastChange - began
  while (received.messages < expected && performance.now() - lastChange < 10_000) {
    await pause(20)
    const latest = await json<Received>(receiverUrl)
    if (latest.messages > received.messages) {
      lastChange = performance.now()
      tookMs = lastChange - began
    }
    received = latest
  }
  const after = await readCosts()
  const perEvent = (total: number) => total / produced.accepted
  return {
    accepted: produced.accepted,
    acceptedPerSecond: produced.perSecond,
    delivered: received.messages,
    deliveredPerSecond: received.messages / (tookMs / 1_000),
    acceptMs: [produced.p50, produced.p95, produced.p99],
    endToEndMs: [received.p50, received.p95, received.p99],
    lost: Math.max(0, expected - received.messages),
    duplicated: received.deliveries - received.messages,
    failures: produced.failures,
    cpuMicros: perEvent((after.own.cpu - before.own.cpu) * 1e6),
    postgresCpuMicros: perEvent((after.pg.cpu - before.pg.cpu) * 1e6),
    writtenBytes: perEvent(after.own.written - before.own.written + after.pg.written - before.pg.written),
    peakMiB: after.own.peak / 2 ** 20,
    commitsPerEvent: after.commits < 0 ? null : perEvent(after.commits - before.commits),
  }
}
