// `npm run demo` starts the whole service and a receiver, and prints each step and the history of deliveries.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { env } from 'node:process'
import { createInterface } from 'node:readline'
import { Webhook } from 'standardwebhooks'
import { onEndSignal } from '../lib/end-signals.ts'

let exitCode = 0
const say = (text: string) => {
  if (exitCode === 0) console.log(text)
}
const step = (text: string) => say(`\n▸ ${text}`)
const sayJson = (value: unknown) => say(JSON.stringify(value, null, 2).replace(/^/gm, '    '))

interface CreatedWebhook {
  id: string
  secret: string
}
interface Delivery {
  event_id: string
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
  detached: true, // Ctrl-C reaches only the demo, which then stops the service
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
const serviceEnded = new Promise((resolve) => service.once('exit', resolve))
/** Rejects at Ctrl-C, which ends the demo early. The service is then stopped and its folder removed, as at the usual end. */
const interrupted = new Promise<never>((_, reject) => {
  const interrupt = (signal: NodeJS.Signals) => {
    exitCode = 128 + constants.signals[signal]
    reject(new Error('interrupted'))
  }
  onEndSignal(interrupt, () => service.kill('SIGKILL'))
})
process.stdout.on('error', () => {}) // writing to a closed terminal must not end the demo
try {
  await Promise.race([demonstrate(), interrupted])
} catch (error) {
  if (exitCode === 0) {
    exitCode = 1
    console.error(error)
  }
} finally {
  service.kill('SIGTERM')
  await serviceEnded
  await rm(dataDir, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
}
process.exit(exitCode)

async function demonstrate(): Promise<void> {
  step('Starting Kolbak with an admin client, short retry delays, and permission to call localhost; everything else is default')
  const startedAt = performance.now()
  const url = await serviceUrl()
  say(`  ready on ${url} after ${((performance.now() - startedAt) / 1_000).toFixed(1)} s; it started a Postgres of its own in a new folder`)

  step('Starting a receiver that verifies each signature with the official library, `standardwebhooks`')
  const receiver = await startReceiver()
  say('  /orders responds with 200; /flaky responds with 503 at first')

  step('POST /v1/auth: the client gets a bearer token')
  const { access_token: token } = await call<{ access_token: string }>('POST', `${url}/v1/auth`, {
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
  })
  const authorization = `Bearer ${token}`

  step('POST /v1/webhooks: two subscriptions to order.*')
  const subscribe = (path: string) =>
    call<CreatedWebhook>('POST', `${url}/v1/webhooks`, { callback_url: receiver.url + path, event: 'order.*' }, authorization)
  const orders = await subscribe('/orders')
  const flaky = await subscribe('/flaky')
  receiver.trust('/orders', orders.secret)
  receiver.trust('/flaky', flaky.secret)
  sayJson({ ...orders, secret: `${orders.secret.slice(0, 10)}… (shown once)` })

  step('POST /v1/events: three events; a 202 means that the event is stored durably')
  for (const [id, event, payload] of [
    ['evt_1', 'order.created', { order: 1, total: 12.5 }],
    ['evt_2', 'order.paid', { order: 1 }],
    ['evt_3', 'order.shipped', { order: 1, parcel: 'A7' }],
  ] as const) {
    const { data } = await call<{ data: object }>('POST', `${url}/v1/events`, { id, event, payload }, authorization)
    say(`  202 ${JSON.stringify(data)}`)
  }

  step('Deliveries arrive; those to /flaky fail and are retried after 1 s, 2 s and 3 s (each ± 20 %)')
  await receiver.waitFor('/orders', 3)
  await receiver.waitFor('/flaky', 3)
  step('The flaky receiver recovers')
  receiver.recover('/flaky')
  await receiver.waitFor('/flaky', 3, true)

  step('GET /v1/webhooks/:id/deliveries: the deliveries to /flaky and their attempts')
  const history = await waitUntil(
    () => call<{ data: Delivery[] }>('GET', `${url}/v1/webhooks/${flaky.id}/deliveries`, undefined, authorization),
    ({ data }) => data.length === 3 && data.every((delivery) => delivery.status === 'success'),
  )
  for (const delivery of history.data) {
    say(`  ${delivery.event_id}: ${delivery.status}`)
    for (const { number, status, response_code, reason, duration_ms, at } of delivery.attempts)
      say(`    attempt ${number}: ${status} ${response_code ?? reason} in ${duration_ms} ms at ${at}`)
  }
  step('All signatures were valid. Every attempt of an event carried the same webhook-id.')
  say('\nTo go on, start a Kolbak that stays, and post to it from other terminals:')
  say('  npm run dev                                                  in a first terminal')
  say('  npm run -s kolbak -- listen                                  in a second terminal')
  say('  npm run -s kolbak -- send order.created \'{"order": 7}\'      in a third terminal')
  await receiver.close()
}

/** Returns the URL of the service once its log says that it is ready. */
async function serviceUrl(): Promise<string> {
  for await (const line of createInterface({ input: service.stdout })) {
    const logged = JSON.parse(line) as { msg: string; url?: string }
    if (logged.msg === 'kolbak.ready' && logged.url !== undefined) {
      service.stdout.resume()
      return logged.url
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

async function waitUntil<T>(probe: () => Promise<T>, isDone: (value: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const value = await probe()
    if (isDone(value)) return value
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the demo did not reach its next step within 30 s')
}

async function startReceiver() {
  const secrets = new Map<string, string>()
  const recovered = new Set<string>(['/orders'])
  const requests: { path: string; succeeded: boolean }[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url ?? '/'
      // If the signature is not valid, `verify` throws, which ends the demo.
      const event = new Webhook(secrets.get(path) ?? '').verify(
        Buffer.concat(chunks).toString(),
        request.headers as Record<string, string>,
      ) as { id: string; event: string }
      const succeeded = recovered.has(path)
      const status = succeeded ? 200 : 503
      response.writeHead(status).end(succeeded ? 'thanks' : 'not now')
      say(
        `  ${path.padEnd(7)} ${event.id} ${event.event.padEnd(13)} attempt ${request.headers['kolbak-attempt']}, signature valid → ${status}`,
      )
      requests.push({ path, succeeded })
    })
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trust: (path: string, secret: string) => secrets.set(path, secret),
    recover: (path: string) => recovered.add(path),
    waitFor: (path: string, count: number, succeeded?: boolean) =>
      waitUntil(
        async () => requests.filter((request) => request.path === path && (succeeded ?? request.succeeded) === request.succeeded).length,
        (received) => received >= count,
      ),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  }
}
