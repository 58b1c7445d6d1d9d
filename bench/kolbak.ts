import { mkdtemp, rm } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import packageJson from '../package.json' with { type: 'json' }
import { embeddedPostgres } from '../test/support/embedded-postgres.ts'
import { lineOf, start, stop, withChildren } from './processes.ts'
import type { Scenario } from './scenarios.ts'

export const fetchJson = async <T>(url: string, init: RequestInit = {}): Promise<T> => {
  const response = await fetch(url, init)
  if (!response.ok) throw new Error(`${init.method ?? 'GET'} ${url}: ${response.status} ${await response.text()}`)
  return (await response.json()) as T
}

/** Opens the live stream of the deliveries of the first tenant, and reads it until Kolbak stops. */
export const openDeliveryStream = ({ url, tokens }: Kolbak): Promise<void> =>
  new Promise((resolve, reject) => {
    const request = get(`${url}/v1/deliveries/stream`, { headers: { authorization: `Bearer ${tokens[0]}` } }, (response) => {
      response.resume()
      response.on('error', () => {}) // the end of Kolbak cuts the stream
      if (response.statusCode === 200) resolve()
      else reject(new Error(`the live stream of deliveries responded with ${response.statusCode}`))
    })
    request.on('error', reject)
  })

/** Kolbak as a user runs it, in its own process, with the tenants and webhooks of a scenario. */
export interface Kolbak {
  readonly url: string
  readonly pid: number
  /** Returns the ids of Kolbak's processes, without those of Postgres. */
  pids(): Promise<number[]>
  readonly dataDir: string
  /** A token of an admin. */
  readonly admin: string
  /** One token for each tenant. */
  readonly tokens: readonly string[]
  /** The event names, which the producers post round robin. */
  readonly events: readonly string[]
  /** The mean number of deliveries of one event, without those to receivers that hang. */
  readonly deliveriesPerEvent: number
  readonly database: pg.Client
  /** Stops Kolbak and removes its data. */
  stop(): Promise<void>
}

/** The flags of node in `npm start`. */
const startFlags = packageJson.scripts.start.split(' ').filter((word) => word.startsWith('--'))

/**
 * @param profile the folder for a CPU profile, which is written at the end
 * @param variables the variables that name engines; without them, Kolbak uses the embedded Postgres
 */
export async function startKolbak(
  receiverUrl: string,
  { tenants, webhooksPerTenant, fanout, paths }: Pick<Scenario, 'tenants' | 'webhooksPerTenant' | 'fanout' | 'paths'>,
  { profile, variables = {} }: { profile?: string | undefined; variables?: Record<string, string> } = {},
): Promise<Kolbak> {
  const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-bench-'))
  const secret = 'a-secret-of-the-benchmark-that-is-long-enough'
  const service = start(
    '../src/main.ts',
    [],
    {
      PORT: '0',
      KOLBAK_DATA_DIR: dataDir,
      KOLBAK_ADMIN_CLIENT_ID: 'bench',
      KOLBAK_ADMIN_CLIENT_SECRET: secret,
      KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
      KOLBAK_PROCESSES: process.env.KOLBAK_PROCESSES ?? '1',
      KOLBAK_EVENTS_PER_SECOND: '1000000',
      KOLBAK_REQUESTS_PER_SECOND: '1000000',
      ...variables,
    },
    [...startFlags, ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`])],
  )
  let database: pg.Client | undefined
  const end = async () => {
    await database?.end()
    await stop(service)
    await rm(dataDir, { recursive: true, force: true })
  }
  try {
    const url = await lineOf(service, (line) => (line.includes('kolbak.ready') ? (JSON.parse(line) as { url: string }).url : undefined))
    const tokenOf = async (client: string, clientSecret: string) =>
      (
        await fetchJson<{ access_token: string }>(`${url}/v1/auth`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ grant_type: 'client_credentials', client_id: client, client_secret: clientSecret }),
        })
      ).access_token
    const post = <T>(token: string, path: string, body: object) =>
      fetchJson<T>(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      })
    const admin = await tokenOf('bench', secret)
    const tokens: string[] = []
    const createTenant = async (t: number) => {
      const tenant = (await post<{ data: { id: string } }>(admin, '/v1/tenants', { name: `Tenant ${t}` })).data.id
      const scopes = ['write:events', 'write:webhooks', 'read:webhooks']
      const client = await post<{ data: { client_id: string; client_secret: string } }>(admin, `/v1/tenants/${tenant}/clients`, {
        name: 'bench',
        scopes,
      })
      return tokenOf(client.data.client_id, client.data.client_secret)
    }
    const createWebhooks = async (t: number) => {
      const token = tenants === 1 ? admin : await createTenant(t)
      tokens[t] = token
      for (let w = 0; w < webhooksPerTenant; w++)
        await post(token, '/v1/webhooks', {
          callback_url: `${receiverUrl}${paths[w % paths.length]}/${t}/${w}`,
          event: fanout ? 'bench.*' : `bench.w${w}`,
        })
    }
    let next = 0
    const createRemaining = async () => {
      while (next < tenants) await createWebhooks(next++)
    }
    await Promise.all(Array.from({ length: 8 }, createRemaining))
    database = new pg.Client((await embeddedPostgres(dataDir)).url)
    await database.connect()
    const events = Array.from({ length: webhooksPerTenant }, (_, w) => (fanout ? 'bench.posted' : `bench.w${w}`))
    const hangingShare = paths.filter((path) => path === '/hanging').length / paths.length
    const deliveriesPerEvent = fanout ? webhooksPerTenant : 1 - hangingShare
    const pid = service.pid ?? 0
    return { url, pid, pids: () => withChildren(pid), dataDir, admin, tokens, events, deliveriesPerEvent, database, stop: end }
  } catch (error) {
    await end()
    throw error
  }
}
