// Usage: npm run bench:history [-- --deliveries 100000,10000000]
// It measures the queries of the delivery history, and whether their time grows with the history. The history has 100 webhooks, and covers 30 days. One
// delivery in a hundred failed at its fifth attempt. The rows are written by SQL, and the measured requests go over HTTP.
import { parseArgs } from 'node:util'
import { Client } from 'undici'
import { fetchJson, startKolbak } from './kolbak.ts'
import { killAll, lineOf, start } from './processes.ts'

const { values: options } = parseArgs({ options: { deliveries: { type: 'string', default: '100000,10000000' } } })
const sizes = options.deliveries.split(',').map(Number)
const webhooks = 100
const days = 30
const samples = 400

interface Page {
  readonly data: readonly { readonly id: string }[]
  readonly pagination: { readonly next_cursor: string | null }
}

let kolbak: Awaited<ReturnType<typeof startKolbak>> | undefined
try {
  const receiverUrl = await lineOf(start('receiver.ts', []), (line) => line)
  kolbak = await startKolbak(receiverUrl, { tenants: 1, webhooksPerTenant: webhooks, fanout: false, paths: ['/hook'] })
  const { url, admin, database } = kolbak
  const headers = { authorization: `Bearer ${admin}` }
  const get = <T>(path: string) => fetchJson<T>(url + path, { headers })
  const client = new Client(url)
  const { rows } = await database.query<{ id: string; tenant: string }>('select id, tenant from webhook_subscriptions order by id')
  const ids = rows.map(({ id }) => id)
  const day = (daysAgo: number) => new Date(Date.now() - daysAgo * 86_400_000).toISOString().slice(0, 10)
  for (let n = 1; n <= days; n++)
    for (const table of ['deliveries', 'attempts'])
      await database.query(
        `create table if not exists ${table}_${day(n).replaceAll('-', '')} partition of ${table} for values from ('${day(n)}') to ('${day(n - 1)}')`,
      )

  const measure = async (pathOf: () => string): Promise<{ p50: number; p99: number }> => {
    const times: number[] = []
    for (let n = 0; n < samples; n++) {
      const path = pathOf()
      const began = performance.now()
      const { statusCode, body } = await client.request({ path, method: 'GET', headers })
      const text = await body.text()
      times.push(performance.now() - began)
      if (statusCode !== 200 || (JSON.parse(text) as Page).data.length === 0) throw new Error(`${path} returned no rows: ${text}`)
    }
    times.sort((a, b) => a - b)
    return { p50: times[samples >> 1]!, p99: times[Math.floor(samples * 0.99)]! }
  }
  const randomOf = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)]!
  const results: Record<string, Record<string, string>> = {}
  let written = 0
  for (const size of sizes) {
    const began = performance.now()
    // The rows are written in parts, so that no transaction is as large as the history.
    for (const part = 250_000; written < size; written = Math.min(size, written + part))
      await database.query(
        `with inserted as (insert into deliveries (accepted_at, time, died_at, duration_ms, delivery, event_id, chain, attempt, code, finality, webhook,
           tenant, message, place, fingerprint, event, correlation_id, type, status, reason)
         select at, at, case when failed then at end, 12, gen_random_uuid(), gen_random_uuid(), 1, case when failed then 5 else 1 end, case when failed then 400 else 200 end,
           3, ($1::text[])[1 + n % $2], $3, 'evt_' || n, 'bench-0-' || n || '-0', md5(n::text), 'bench.posted', 'bench',
           case when failed then 'DeliveryDeadLettered' else 'DeliverySucceeded' end, case when failed then 'failed' else 'success' end,
           case when failed then 'http_400' end
         from (select n, n % 100 = (n / 100) % 100 as failed,
                 date_trunc('milliseconds', $4::timestamptz + random() * interval '${days - 1} days') as at
               from generate_series($5::bigint, $6::bigint) n) drawn
         returning accepted_at, delivery, status)
         insert into attempts (accepted_at, time, duration_ms, delivery, event_id, chain, attempt, code, type, reason)
           select accepted_at, accepted_at - n * interval '1 minute', 12, delivery, gen_random_uuid(), 1, 5 - n, 503, 'DeliveryFailed', 'http_503'
           from inserted, generate_series(1, 4) n where status = 'failed'`,
        [ids, webhooks, rows[0]!.tenant, day(days), written, Math.min(size, written + part) - 1],
      )
    await database.query('vacuum analyze deliveries')
    await database.query('vacuum analyze attempts')
    const fillSeconds = (performance.now() - began) / 1_000
    const deepCursors = await Promise.all(
      ids.slice(0, 20).map(async (id) => ({
        id,
        cursor: (await get<Page>(`/v1/webhooks/${id}/deliveries?limit=50&until=${day(days - 3)}T00:00:00.000Z`)).pagination.next_cursor,
      })),
    )
    const queries = {
      'first page of 50': () => `/v1/webhooks/${randomOf(ids)}/deliveries?limit=50`,
      'deep page of 50': () => {
        const { id, cursor } = randomOf(deepCursors.filter((page) => page.cursor !== null))
        return `/v1/webhooks/${id}/deliveries?limit=50&cursor=${encodeURIComponent(cursor!)}`
      },
      'failed deliveries': () => `/v1/webhooks/${randomOf(ids)}/deliveries?limit=50&status=failed`,
      'dead letters of all webhooks': () => '/v1/dead-letters?limit=50',
    }
    for (const [query, pathOf] of Object.entries(queries)) {
      await measure(pathOf) // The first run only warms the caches.
      const { p50, p99 } = await measure(pathOf)
      results[query] = { ...results[query], [`${size.toLocaleString('en')}: p50 / p99 ms`]: `${p50.toFixed(1)} / ${p99.toFixed(1)}` }
    }
    console.log(`${size.toLocaleString('en')} deliveries, written in ${Math.round(fillSeconds)} s`)
  }
  console.table(results)
} finally {
  await kolbak?.stop()
  killAll()
}
