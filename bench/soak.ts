// npm run soak [-- --minutes 5 --share 0.7]
// Kolbak for minutes at a share of what it can do, measured first. Ends with 1 when something grows that should stand still:
// memory, open files, timers and sockets, connections to Postgres, what is unread, how far projections are behind.
import { readdir, readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { json, startKolbak } from './kolbak.ts'
import { killAll, lineOf, postgresPids, start } from './processes.ts'
import type { Produced, Work } from './producers.ts'
import type { Received } from './receiver.ts'

const { values: options } = parseArgs({ options: { minutes: { type: 'string', default: '5' }, share: { type: 'string', default: '0.7' } } })
const seconds = Number(options.minutes) * 60
const everyMs = 5_000
const warmSeconds = Math.min(60, seconds / 4)

/** What must not grow: the unit, and by how much its median may differ between the first and the last third after warm-up. */
const gauges = {
  'memory of node, MiB': { factor: 1.15, plus: 16 },
  'memory of Postgres, MiB': { factor: 1.25, plus: 32 },
  'open files': { factor: 1, plus: 16 },
  'timers, sockets and the like': { factor: 1, plus: 24 },
  connections: { factor: 1, plus: 4 },
  'records unread': { factor: 1.5, plus: 200 },
  'projections behind, s': { factor: 1, plus: 1 },
} as const
type Sample = Record<keyof typeof gauges, number>

const anonymous = async (pids: readonly number[]) => {
  let kib = 0
  for (const pid of pids) kib += Number(/RssAnon:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))?.[1] ?? 0)
  return kib / 1_024
}
const produce = (work: Work) => lineOf(start('producers.ts', [JSON.stringify(work)]), (line) => JSON.parse(line) as Produced)

// A tenth of what one endpoint answers is a 503: soon tried again, so that all has arrived at the end.
process.env.KOLBAK_RETRY_DELAYS ??= '1,1,1,1,1,1,1,1'
let kolbak: Awaited<ReturnType<typeof startKolbak>> | undefined
try {
  const receiverUrl = await lineOf(start('receiver.ts', []), (line) => line)
  kolbak = await startKolbak(receiverUrl, { tenants: 10, webhooksPerTenant: 2, fanout: false, paths: ['/hook', '/failing'] })
  const { url, pid, dataDir, admin, tokens, events, database } = kolbak
  const common = { url, tokens, events, bytes: 512, batch: 1 }
  const warm = await produce({ ...common, seconds: 5, producers: 32, perSecond: 0 })
  /** All that was accepted so far has arrived. */
  const settled = async (since: number): Promise<Received> => {
    for (let waited = 0; ; waited += 100) {
      const received = await json<Received>(receiverUrl)
      if (received.messages >= since || waited > 60_000) return received
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await settled(warm.accepted)
  await json(`${receiverUrl}/reset`)
  const beganAtMost = performance.now()
  const { accepted: atMost } = await produce({ ...common, seconds: 10, producers: 32, perSecond: 0 })
  await settled(atMost)
  const capacity = (atMost * 1_000) / (performance.now() - beganAtMost)
  const perSecond = Math.floor(capacity * Number(options.share))
  console.log(`${Math.round(capacity)} events/s can be posted and delivered; ${perSecond}/s for ${options.minutes} minutes`)
  await json(`${receiverUrl}/reset`)

  const sample = async (): Promise<Sample> => {
    const metrics = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${admin}` } })).text()
    const largest = (name: string) =>
      Math.max(0, ...[...metrics.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'))].map((match) => Number(match[1])))
    const { rows } = await database.query("select count(*)::int as n from pg_stat_activity where application_name like 'kolbak %'")
    return {
      'memory of node, MiB': await anonymous([pid]),
      'memory of Postgres, MiB': await anonymous(await postgresPids(dataDir)),
      'open files': (await readdir(`/proc/${pid}/fd`)).length,
      'timers, sockets and the like': largest('nodejs_active_resources_total'),
      connections: rows[0].n,
      'records unread': largest('kolbak_records_unread'),
      'projections behind, s': largest('kolbak_projection_lag_seconds'),
    }
  }
  const samples: (Sample & { at: number })[] = []
  const began = performance.now()
  const load = produce({ ...common, seconds, producers: 0, perSecond })
  while (performance.now() - began < seconds * 1_000) {
    await new Promise((resolve) => setTimeout(resolve, everyMs))
    samples.push({ at: (performance.now() - began) / 1_000, ...(await sample()) })
  }
  const produced = await load
  const received = await settled(produced.accepted)

  const after = samples.filter(({ at }) => at > warmSeconds)
  const third = Math.floor(after.length / 3)
  const median = (of: readonly Sample[], name: keyof Sample) => of.map((one) => one[name]).sort((a, b) => a - b)[Math.floor(of.length / 2)]!
  const names = Object.keys(gauges) as (keyof Sample)[]
  const verdicts = names.map((name) => {
    const { factor, plus } = gauges[name]
    const [first, last] = [median(after.slice(0, third), name), median(after.slice(-third), name)]
    const largest = Math.max(...after.map((one) => one[name]))
    return { name, first, last, largest, 'stands still': last <= first * factor + plus }
  })
  const round = (value: number) => Math.round(value * 10) / 10
  console.table(
    Object.fromEntries(
      verdicts.map(({ name, first, last, largest, ...rest }) => [name, { ...mapped({ first, last, largest }, round), ...rest }]),
    ),
  )
  const lost = produced.accepted - received.messages
  console.log(
    `${produced.accepted} accepted, accept p50/p99 ${round(produced.p50)} / ${round(produced.p99)} ms, end to end ${round(received.p50)} / ${round(received.p99)} ms, ${lost} lost, ${received.deliveries - received.messages} repeated, not accepted: ${JSON.stringify(produced.failures)}`,
  )
  if (lost > 0 || verdicts.some((verdict) => !verdict['stands still'])) process.exitCode = 1
} finally {
  await kolbak?.stop()
  killAll()
}

function mapped<K extends string>(record: Record<K, number>, change: (value: number) => number): Record<string, number> {
  return Object.fromEntries(Object.entries<number>(record).map(([name, value]) => [name, change(value)]))
}
