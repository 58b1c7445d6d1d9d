// npm run demo: the whole service with a receiver beside it; each step and the history are printed.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { createInterface } from 'node:readline'
import { Webhook } from 'standardwebhooks'

const say = (text: string) => console.log(text)
const step = (text: string) => say(`\n▸ ${text}`)
const indent = (value: unknown) => say(JSON.stringify(value, null, 2).replace(/^/gm, '    '))

interface Webhooks {
  id: string
  secret: string
}
interface Delivery {
  status: string
  attempts: {
    number: number
    at: string
    status: string
    response_code: number | null
    duration_ms: number | null
    reason: string | null
  }[]
}

const clientId = 'demo'
const clientSecret = 'the-secret-of-the-demo-is-not-a-secret'
const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-demo-'))
const service = spawn(process.execPath, [join(import.meta.dirname, '../main.ts')], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: {
    PATH: env.PATH ?? '',
    PORT: '0',
    KOLBAK_DATA_DIR: dataDir,
    KOLBAK_ADMIN_CLIENT_ID: clientId,
    KOLBAK_ADMIN_CLIENT_SECRET: clientSecret,
    KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
    KOLBAK_RETRY_DELAYS: '1,2,3',
  },
})
let exitCode = 0
try {
  step('Starting Kolbak with nothing configured but an admin client, quick retries, and leave to call localhost')
  const started = performance.now()
  const url = await readiness()
  say(`  ready on ${url} after ${((performance.now() - started) / 1_000).toFixed(1)} s: a real Postgres of its own, in a folder of its own`)

  step('Starting a receiver that verifies each signature with the official library, `standardwebhooks`')
  const receiver = await startReceiver()
  say(`  /orders answers 200; /flaky answers 503 for a while`)

  step('POST /v1/auth: the client gets a bearer token')
  const { access_token: token } = await call<{ access_token: string }>('POST', `${url}/v1/auth`, {
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
  })
  const authorization = `Bearer ${token}`

  step('POST /v1/webhooks: two subscriptions to order.*')
  const subscribe = (path: string) =>
    call<Webhooks>('POST', `${url}/v1/webhooks`, { callback_url: receiver.url + path, event: 'order.*' }, authorization)
  const orders = await subscribe('/orders')
  const flaky = await subscribe('/flaky')
  receiver.trust('/orders', orders.secret)
  receiver.trust('/flaky', flaky.secret)
  indent({ ...orders, secret: `${orders.secret.slice(0, 10)}… (shown once)` })

  step('POST /v1/events: three events; each 202 means that it is durable')
  for (const [id, event, payload] of [
    ['evt_1', 'order.created', { order: 1, total: 12.5 }],
    ['evt_2', 'order.paid', { order: 1 }],
    ['evt_3', 'order.shipped', { order: 1, parcel: 'A7' }],
  ] as const) {
    const answer = await call<{ data: object }>('POST', `${url}/v1/events`, { id, event, payload }, authorization)
    say(`  202 ${JSON.stringify(answer.data)}`)
  }

  step('Deliveries arrive; those to /flaky fail and are tried again after 1 s, 2 s, 3 s (each ± 20 %)')
  await receiver.until('/orders', 3)
  await receiver.until('/flaky', 3)
  step('The flaky endpoint recovers')
  receiver.recover('/flaky')
  await receiver.until('/flaky', 3, true)

  step('GET /v1/webhooks/:id/deliveries: what became of the three at /flaky')
  const history = await until(
    () => call<{ data: Delivery[] }>('GET', `${url}/v1/webhooks/${flaky.id}/deliveries`, undefined, authorization),
    ({ data }) => data.length === 3 && data.every((delivery) => delivery.status === 'success'),
  )
  for (const delivery of history.data) {
    say(`  ${delivery.status}`)
    for (const a of delivery.attempts)
      say(`    attempt ${a.number}: ${a.status} ${a.response_code ?? a.reason} in ${a.duration_ms} ms at ${a.at}`)
  }
  step('All signatures were valid, and the three events came with the same webhook-id on every attempt.')
  await receiver.close()
} catch (error) {
  exitCode = 1
  console.error(error)
} finally {
  service.kill('SIGTERM')
  await new Promise((resolve) => service.once('exit', resolve))
  await rm(dataDir, { recursive: true, force: true })
}
process.exit(exitCode)

/** Waits for the service's own word that it is ready. */
async function readiness(): Promise<string> {
  for await (const line of createInterface({ input: service.stdout })) {
    const fact = JSON.parse(line) as { msg: string; url?: string }
    if (fact.msg === 'kolbak.ready' && fact.url !== undefined) {
      service.stdout.resume()
      return fact.url
    }
  }
  throw new Error('the service ended before it was ready')
}

async function call<T>(method: string, url: string, body?: object, authorization?: string): Promise<T> {
  const response = await fetch(url, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(authorization === undefined ? {} : { authorization }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`)
  return JSON.parse(text) as T
}

async function until<T>(probe: () => Promise<T>, test: (value: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const value = await probe()
    if (test(value)) return value
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('waited in vain')
}

async function startReceiver() {
  const secrets = new Map<string, string>()
  const recovered = new Set<string>(['/orders'])
  const seen: { path: string; ok: boolean }[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url ?? '/'
      // Throws when the signature is not valid: the demo ends with it.
      const event = new Webhook(secrets.get(path) ?? '').verify(
        Buffer.concat(chunks).toString(),
        request.headers as Record<string, string>,
      ) as { id: string; event: string }
      const ok = recovered.has(path)
      response.writeHead(ok ? 200 : 503).end(ok ? 'thanks' : 'not now')
      say(
        `  ${path.padEnd(7)} ${event.id} ${event.event.padEnd(13)} attempt ${request.headers['kolbak-attempt']}, signature valid → ${ok ? 200 : 503}`,
      )
      seen.push({ path, ok })
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trust: (path: string, secret: string) => secrets.set(path, secret),
    recover: (path: string) => recovered.add(path),
    until: (path: string, count: number, ok?: boolean) =>
      until(
        async () => seen.filter((s) => s.path === path && (ok === undefined || s.ok === ok)).length,
        (n) => n >= count,
      ),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  }
}
