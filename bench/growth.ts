// Usage: npm run bench:growth [-- --only stored,webhooks,processes --seconds 6]
// It measures how the cost of an event grows with stored messages, webhooks and processes. The loads are single posts of 32 producers, and 200 posts
// per second in an open loop. Stored messages are written by SQL, in the form in which the service writes them.
import { parseArgs } from 'node:util'
import { measureLoad, type Result, targetOf } from './drive.ts'
import { type Kolbak, startKolbak } from './kolbak.ts'
import { startLoad } from './load.ts'
import { killAll } from './processes.ts'

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: 'stored,webhooks,processes' },
    seconds: { type: 'string', default: '6' },
    stored: { type: 'string', default: '1000,100000,1000000' },
    webhooks: { type: 'string', default: '10,10000' },
    processes: { type: 'string', default: '1,3' },
  },
})
const seconds = Number(options.seconds)
const table: Record<string, Record<string, string>> = {}
const load = await startLoad()

/** Runs Kolbak with the given number of webhooks, ten for each of at most 100 tenants. */
const withWebhooks = async (webhooks: number, work: (kolbak: Kolbak) => Promise<void>, variables: Record<string, string> = {}) => {
  const tenants = Math.max(1, Math.min(100, webhooks / 10))
  const shape = { tenants, webhooksPerTenant: webhooks / tenants, fanout: false, paths: ['/hook'] }
  const kolbak = await startKolbak(load.url, shape, { variables })
  try {
    await work(kolbak)
  } finally {
    await kolbak.stop()
  }
}
const measure = async (title: string, kolbak: Kolbak) => {
  const { tokens, events, deliveriesPerEvent } = kolbak
  const common = { tokens, events, bytes: 512, batch: 1 }
  const run = (producers: number, requestsPerSecond: number, loadSeconds: number): Promise<Result> =>
    measureLoad(targetOf(kolbak), load, { ...common, producers, requestsPerSecond, seconds: loadSeconds }, deliveriesPerEvent)
  await run(32, 0, 2) // The first load only warms up the code.
  const closedLoop = await run(32, 0, seconds)
  const openLoop = await run(0, 200, seconds)
  const ms = ({ endToEndMs: [p50, , p99] }: Result) => `${p50.toFixed(1)} / ${p99.toFixed(1)}`
  table[title] = {
    'delivered/s': closedLoop.deliveredPerSecond.toFixed(0),
    'end to end p50 / p99 ms': ms(closedLoop),
    'cpu µs node/pg': `${closedLoop.cpuMicros.toFixed(0)} / ${closedLoop.postgresCpuMicros.toFixed(0)}`,
    'at 200/s: p50 / p99 ms': ms(openLoop),
    'lost / repeated': `${closedLoop.lost + openLoop.lost} / ${closedLoop.repeated + openLoop.repeated}`,
  }
  console.log(title, JSON.stringify(table[title]))
}

/**
 * Writes messages with the numbers `from` to `to`, as routed and delivered today. Their places, positions and revisions are negative, so they come
 * before all that the service reads.
 */
async function store({ database }: Kolbak, from: number, to: number): Promise<void> {
  const { rows } = await database.query<{ webhooks: string[]; tenant: string }>(
    'select array_agg(id order by id) as webhooks, min(tenant) as tenant from webhook_subscriptions',
  )
  const [{ webhooks, tenant }] = rows as [{ webhooks: string[]; tenant: string }]
  const values = [from, to, tenant, webhooks]
  const source = `from (select n, ($4::text[])[1 + n % cardinality($4::text[])] as webhook, $3::text as tenant, 'evt_' || n as message,
      'bench/0/-' || n || '/0' as place, md5(n::text) || md5(n::text) as fingerprint,
      date_trunc('milliseconds', now() - interval '1 second' - n * interval '1 microsecond') as at, current_date as day, to_char(current_date, 'YYYYMMDD') as name
    from generate_series($1::bigint, $2::bigint) n) generated`
  const common = `'tenant', tenant, 'message', message, 'place', place, 'fingerprint', fingerprint, 'event', 'bench.w0', 'accepted_at', at`
  const metadata = `json_build_object('schema', 1, 'actor', 'system:dispatcher', 'tenant', tenant, 'time', at, '$correlationId', message, '$causationId', null)::text`
  for (const sql of [
    `insert into messages (partition, "offset", day, record) select 0, -n, day, decode(repeat(fingerprint, 24), 'hex') ${source}`,
    `insert into message_index (tenant, message, fingerprint, place, event, accepted_at, webhooks, matched_at)
     select tenant, message, fingerprint, place, 'bench.w0', at, array[webhook], '0000000000000000001' ${source}`,
    `insert into day_events (position, id, revision, day, stream, type, data, metadata)
     select -2 * n, gen_random_uuid(), -n, day, 'routing-' || tenant || '-' || name, 'MessageRouted',
       json_build_object(${common}, 'source', null, 'event_time', null, 'webhooks', array[webhook], 'part', 0, 'parts', 1)::text, ${metadata} ${source}`,
    `insert into day_events (position, id, revision, day, stream, type, data, metadata)
     select -2 * n - 1, gen_random_uuid(), -n, day, 'attempts-' || webhook || '-' || name, 'DeliverySucceeded',
       json_build_object(${common}, 'webhook', webhook, 'delivery', gen_random_uuid(), 'chain', 1, 'attempt', 1, 'code', 200, 'duration_ms', 3,
         'reason', null, 'response', 'sealed:' || fingerprint, 'webhook_revision', 0)::text, ${metadata} ${source}`,
    `insert into deliveries (accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, finality, webhook, tenant, message,
       place, fingerprint, event, correlation_id, type, status)
     select at, at, 3, gen_random_uuid(), gen_random_uuid(), 1, 1, 200, 3, webhook, tenant, message, place, fingerprint, 'bench.w0', message,
       'DeliverySucceeded', 'success' ${source}`,
  ])
    await database.query(sql, values)
}

try {
  for (const part of options.only.split(','))
    if (part === 'stored')
      await withWebhooks(10, async (kolbak) => {
        let written = 0
        await measure('nothing stored', kolbak) // The first measurement also creates the partitions of the day.
        for (const storedCount of options.stored.split(',').map(Number)) {
          // The rows are written in parts, so that no transaction becomes too large.
          for (const rows = 100_000; written < storedCount; written = Math.min(storedCount, written + rows))
            await store(kolbak, written + 1, Math.min(storedCount, written + rows))
          await kolbak.database.query('vacuum analyze')
          await kolbak.database.query('checkpoint')
          await measure(`${storedCount.toLocaleString('en')} messages stored`, kolbak)
        }
      })
    else if (part === 'webhooks')
      for (const webhooks of options.webhooks.split(',').map(Number))
        await withWebhooks(webhooks, (kolbak) => measure(`${webhooks.toLocaleString('en')} webhooks`, kolbak))
    else if (part === 'processes')
      for (const processes of options.processes.split(','))
        await withWebhooks(1_000, (kolbak) => measure(`${processes} processes, 1,000 webhooks`, kolbak), { KOLBAK_PROCESSES: processes })
    else throw new Error(`--only ${part}: choose stored, webhooks or processes`)
  console.table(table)
} finally {
  killAll()
}
