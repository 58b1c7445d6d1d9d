import { expect } from 'chai'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/adapters/postgres/embedded.ts'
import { silentLog } from '../../src/lib/log.ts'
import { copyInitialised, fixedKeys, type RunningService, removeFolder, temporaryFolder } from '../support/service.ts'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

/** The cost of one event. These numbers hardly depend on the machine. */
interface Cost {
  /** Statements that Postgres executes, with begin and commit. */
  readonly statements: number
  readonly commits: number
  readonly walBytes: number
  /** KiB that node allocates on its heap. */
  readonly allocatedKiB: number
}
/** The most that an event may cost: what was measured, and a fifth more. Lower these numbers when an event becomes cheaper. */
const limits: Readonly<Record<string, Cost>> = {
  alone: { statements: 4.5, commits: 4, walBytes: 5_500, allocatedKiB: 450 },
  'in a batch of 100': { statements: 0.3, commits: 0.2, walBytes: 5_400, allocatedKiB: 90 },
}
/**
 * The posts of each measurement. A post waits until the events of the former post are delivered, and at least `everyMs`. Otherwise a slow machine would
 * write more events together than a fast one, and each event would cost less.
 */
const posts: Readonly<Record<string, { readonly count: number; readonly events: number; readonly everyMs: number }>> = {
  alone: { count: 60, events: 1, everyMs: 20 },
  'in a batch of 100': { count: 10, events: 100, everyMs: 100 },
}
/** The number of rounds, of which the cheapest counts. Occasional work of the service, and delays of a busy machine, only add to the cost. */
const rounds = 3

describe('the cost of an event', () => {
  let folder: string
  let postgres: EmbeddedPostgres
  let database: pg.Client
  before(async () => {
    folder = await temporaryFolder()
    await copyInitialised(folder)
    const settings = ['fsync=off', 'full_page_writes=off', 'shared_preload_libraries=pg_stat_statements', 'autovacuum=off']
    postgres = await startEmbeddedPostgres({ dataDir: folder, log: silentLog, settings })
    database = new pg.Client(postgres.url)
    await database.connect()
    await database.query('create extension pg_stat_statements')
  })
  after(async () => {
    await database?.end()
    await postgres?.stop()
    await removeFolder(folder)
  })
  /** The young generation is small, so that its collections tell how much was allocated. */
  const semiSpaceMiB = 1
  const services = withServices({
    variables: () => ({
      DATABASE_URL: postgres.url,
      ...fixedKeys,
      NODE_OPTIONS: `--max-semi-space-size=${semiSpaceMiB}`,
    }),
  })
  const totals = async ({ url }: RunningService, { token }: Client): Promise<Cost> => {
    await database.query('select pg_stat_force_next_flush()')
    const { rows } = await database.query<Record<'statements' | 'commits' | 'wal', string>>(
      `select (select sum(calls) from pg_stat_statements where query not like '%pg_stat_%') as statements, xact_commit as commits,
         pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal
       from pg_stat_database where datname = current_database()`,
    )
    const { statements, commits, wal } = rows[0]!
    const metrics = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text()
    const collections = Number(/^nodejs_gc_duration_seconds_count\{kind="minor".*\} (\d+)$/m.exec(metrics)?.[1])
    return {
      statements: Number(statements),
      commits: Number(commits),
      walBytes: Number(wal),
      allocatedKiB: collections * semiSpaceMiB * 1_024,
    }
  }

  it('stays below its limits', async () => {
    const { receiver } = services
    const service = await services.start()
    const api = await clientOf(service.url)
    await services.subscribe(api, '/cost')
    let posted = 0
    const postAll = async ({ count, events, everyMs }: { count: number; events: number; everyMs: number }) => {
      for (let i = 0; i < count; i++) {
        const due = performance.now() + everyMs
        const list = Array.from({ length: events }, () => ({
          ...{ id: `evt_${++posted}`, event: 'load.made', payload: { filler: 'x'.repeat(512) } },
        }))
        await (events === 1 ? api.post('/v1/events', list[0]!) : api.post('/v1/events/batch', { events: list }))
        await waitFor(() => receiver.received('/cost').length === posted && performance.now() >= due)
      }
      await waitFor(async () => {
        const { data } = await api.get<{ data: { deliveries: { success: number } } }>(`/v1/events/evt_${posted}`)
        return data.deliveries.success === 1
      })
    }
    const names = ['statements', 'commits', 'walBytes', 'allocatedKiB'] as const
    const faults: string[] = []
    for (const [how, post] of Object.entries(posts)) {
      await postAll(post) // this warms all code and statements
      const costs: Cost[] = []
      for (let round = 0; round < rounds; round++) {
        const before = await totals(service, api)
        await postAll(post)
        const after = await totals(service, api)
        const perEvent = (name: keyof Cost) => (after[name] - before[name]) / (post.count * post.events)
        costs.push(mapped(perEvent))
      }
      const cost = mapped((name) => Math.min(...costs.map((each) => each[name])))
      console.log(`      ${how}: ${names.map((name) => `${cost[name].toFixed(2)} ${name}`).join(', ')}`)
      for (const name of names)
        if (!(cost[name] <= limits[how]![name])) faults.push(`${how}: ${cost[name].toFixed(2)} ${name}, and not ${limits[how]![name]}`)
    }
    expect(faults).to.deep.equal([])
  })
})

const mapped = (read: (name: keyof Cost) => number): Cost => ({
  statements: read('statements'),
  commits: read('commits'),
  walBytes: read('walBytes'),
  allocatedKiB: read('allocatedKiB'),
})
