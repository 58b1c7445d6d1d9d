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
  /** µs of CPU for each event, of the process and of its Postgres. */
  readonly cpuMicros: number
  readonly postgresCpuMicros: number
  /** Bytes written to disk for each event, by both. */
  readonly writtenBytes: number
  readonly peakMiB: number
  readonly commitsPerEvent: number | null
}
/** What a load is driven at. */
export interface Target {
  readonly url: string
  readonly dataDir: string
  /** Its processes, without Postgres's. */
  pids(): Promise<number[]>
  /** So far; -1 where they are not counted. */
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

/** Drives one load at a target until what is due has arrived, or nothing more does for a while. */
export async function drive(target: Target, receiverUrl: string, work: Omit<Work, 'url'>, copies: number): Promise<Result> {
  await json(`${receiverUrl}/reset?settling=${settlingMs(work)}`)
  const costs = async () => ({
    own: await costOf(await target.pids()),
    pg: await costOf(await postgresPids(target.dataDir)),
    commits: await target.commits(),
  })
  const before = await costs()
  const began = performance.now()
  const load: Work = { ...work, url: target.url }
  const produced = await lineOf(start('producers.ts', [JSON.stringify(load)]), (line) => JSON.parse(line) as Produced)
  const due = produced.accepted * copies
  let received = await json<Received>(receiverUrl)
  let lastChange = performance.now()
  let took = lastChange - began
  while (received.messages < due && performance.now() - lastChange < 10_000) {
    await pause(20)
    const now = await json<Received>(receiverUrl)
    if (now.messages > received.messages) {
      lastChange = performance.now()
      took = lastChange - began
    }
    received = now
  }
  const after = await costs()
  const each = (of: number) => of / produced.accepted
  return {
    accepted: produced.accepted,
    acceptedPerSecond: produced.perSecond,
    delivered: received.messages,
    deliveredPerSecond: received.messages / (took / 1_000),
    acceptMs: [produced.p50, produced.p95, produced.p99],
    endToEndMs: [received.p50, received.p95, received.p99],
    lost: Math.max(0, due - received.messages),
    duplicated: received.deliveries - received.messages,
    failures: produced.failures,
    cpuMicros: each((after.own.cpu - before.own.cpu) * 1e6),
    postgresCpuMicros: each((after.pg.cpu - before.pg.cpu) * 1e6),
    writtenBytes: each(after.own.written - before.own.written + after.pg.written - before.pg.written),
    peakMiB: after.own.peak / 2 ** 20,
    commitsPerEvent: after.commits < 0 ? null : each(after.commits - before.commits),
  }
}
