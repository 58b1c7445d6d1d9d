import { expect } from 'chai'
import fc from 'fast-check'
import { Pool } from 'undici'
import type { Route } from '../../src/api/route.ts'
import { apiKeys } from '../../src/projections/api-keys.ts'
import { audit } from '../../src/projections/audit.ts'
import { keyVersions } from '../../src/projections/key-versions.ts'
import { tenants } from '../../src/projections/tenants.ts'
import { webhookVersions } from '../../src/projections/webhook-versions.ts'
import { webhooks } from '../../src/projections/webhooks.ts'
import { localUrl, startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Credential } from '../support/api-client.ts'
import { conformance } from '../support/api-conformance.ts'
import { badRequests, type Sent } from '../support/bad-requests.ts'
import { isFull } from '../support/is-full.ts'
import { route as routeMessage } from '../support/routed.ts'

const encodeCursor = (...parts: readonly unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url')
const time = '2026-01-01T00:00:00.000Z'
const uuid = '0195d3a1-7a4b-5c6d-8e9f-001122334455'
const ulid = '01ARZ3NDEKTSV4RRFFQ69G5FAV'
const times = [
  ...[time, time, time, '2026-01-01T23:59:60Z', '9999-12-31T23:59:59.9999999Z', '9999-12-31T23:59:59-00:01'],
  ...['0000-01-01T00:00:00Z', '0001-01-01T00:00:00+00:01', '2026-02-29T00:00:00Z', '2026-01-01t00:00:00z'],
]
/** Valid values for fields whose schema does not describe all valid values. Each URL has an IP address or is invalid, so that no name is resolved. */
const knownValues = {
  callback_url: [
    ...[localUrl, localUrl, localUrl, localUrl, `${localUrl}\0`, `${localUrl}\ud800`, 'https://127.0.0.1', 'http://127.0.0.1/'],
    ...['https://a:b@127.0.0.1/', 'https://10.0.0.1/', 'https://[::1]/', 'https://[::1', 'https://[::ffff:169.254.169.254]/'],
    ...['https://0x7f.1/', 'https://127.0.0.1:99999/', 'file:///etc/passwd', 'https://', 'https:127.0.0.1', '//127.0.0.1'],
    `https://127.0.0.1/${'a'.repeat(2_040)}`,
  ],
  payload: [{}, { a: 1 }, JSON.parse('{"__proto__":{"polluted":1}}'), { '\ud800': '\0' }],
  grant_type: ['client_credentials'],
  // Valid cursors of each list, and cursors with a part of the wrong type.
  cursor: [
    ...[
      encodeCursor(time, uuid),
      encodeCursor(time, 'known'),
      encodeCursor(ulid),
      encodeCursor('3'),
      encodeCursor('999999999'),
      encodeCursor('9999999999'),
    ],
    ...['\0', '', '0000-01-01T00:00:00.000Z', 'infinity', '2026'].flatMap((badTime) => [
      encodeCursor(badTime, uuid),
      encodeCursor(badTime, 'known'),
      encodeCursor(badTime),
    ]),
    ...['\0', '', '\ud800', 'a'.repeat(300)].map((badText) => encodeCursor(time, badText)),
  ],
  since: times,
  until: times,
  as_of: times,
  event_time: times,
}
/** The number of requests to each route: some 4,000 in total, or 20,000 in the full run. Each run has another seed. */
const requestCount = Number(process.env.KOLBAK_TEST_BAD_REQUESTS ?? (isFull ? 325 : 65))
/** The seed of this run, which is printed. */
const seed = Number(process.env.KOLBAK_TEST_SEED ?? Date.now() % 1_000_000)
/** Returns whether a request to the route has more than a credential. */
const takesInput = ({ body, query, path }: Route) => body !== undefined || query !== undefined || path.includes(':')

/** Returns the beginning of a live stream, which has no end, and closes the connection. */
async function firstChunk(body: AsyncIterable<unknown>): Promise<string> {
  for await (const chunk of body) return String(chunk)
  return ''
}

describe('bad input', () => {
  let api: TestApi
  let owner: TestClient
  let http: Pool
  let check: ReturnType<typeof conformance>
  let routes: readonly Route[]
  let credentialsOf: (route: Route) => readonly (Credential | undefined)[]
  let paramsOf: (route: Route) => Readonly<Record<string, string>>
  const accepted = new Set<string>()
  const statuses = new Map<number, number>()
  let sent = 0

  before(async () => {
    api = await startApi()
    http = new Pool(api.origin, { connections: 48, headersTimeout: 20_000, bodyTimeout: 20_000 })
    check = conformance(JSON.parse(await (await fetch(`${api.origin}/openapi.json`)).text()))
    routes = api.api.routes.filter(takesInput)

    owner = await api.tenant()
    const [otherTenant, operator] = [await api.tenant(), await api.operator()]
    // The requests change or delete none of the credentials that they are sent with. What they delete is separate from what they read and change.
    const [caller, key, keyToDelete] = [await api.key(owner), await api.key(owner), await api.key(owner)]
    const [webhook, webhookToDelete] = [await api.webhook(caller), await api.webhook(caller)]
    const jobOf = async (id: string) =>
      (await api.call('POST', `/v1/webhooks/${id}/replay`, { as: caller, body: { since: time } })).get('data.id')
    const [job, jobToCancel] = [await jobOf(await api.webhook(caller)), await jobOf(await api.webhook(caller))]
    const clientToRevoke = await api.sibling(otherTenant, ['read:events'])
    await api.call('POST', '/v1/events', { as: owner, body: { id: 'known', event: 'order.created', payload: {} } })
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    const [delivery] = await routeMessage(api, produced, [webhook])
    await delivery?.record({ type: 'DeliveryDeadLettered', code: 500 })

    credentialsOf = ({ credentials, scope }) =>
      credentials === 'client' ? [undefined] : credentials === 'bearer-or-key' ? [owner, caller] : [scope === 'admin' ? operator : owner]
    paramsOf = ({ path, method }) => {
      const isDeletion = method === 'DELETE'
      const ids = {
        '/v1/keys': isDeletion ? keyToDelete.id : key.id,
        '/v1/webhooks': isDeletion ? webhookToDelete : webhook,
        '/v1/events': 'known',
        '/v1/deliveries': delivery?.id,
        '/v1/jobs': isDeletion ? jobToCancel : job,
        '/v1/tenants': otherTenant.tenant,
      }
      const id = Object.entries(ids).find(([start]) => path.startsWith(`${start}/`))?.[1] ?? ''
      return { id, client_id: isDeletion ? clientToRevoke.clientId : otherTenant.clientId }
    }
  })
  after(async () => {
    await http.destroy()
    await api.stop()
  })

  /** Returns those of the requests that stored a message or an event. */
  const leftBehind = async (requests: readonly string[]): Promise<string[]> => {
    const { rows } = await api.db.pool.query<{ by: string }>(
      `select by from (select metadata::jsonb->>'$correlationId' as by from command_events
        union all select metadata::jsonb->>'$correlationId' from day_events) stored where by = any ($1)`,
      [requests],
    )
    const produced = api.produced.map(({ record }) => String(record.correlation_id)).filter((by) => requests.includes(by))
    return [...rows.map(({ by }) => by), ...produced]
  }
  const required = ({ body, query }: Route) => [body?.required ?? [], query?.required ?? []].flat().map(String)

  async function ask(route: Route, request: Sent, as: Credential | undefined): Promise<void> {
    const requestId = `bad-${++sent}`
    const credential: Record<string, string> =
      as === undefined ? {} : 'token' in as ? { authorization: `Bearer ${as.token}` } : { 'x-api-key': as.key }
    const {
      statusCode: status,
      headers,
      body,
    } = await http.request({
      method: route.method,
      path: request.path,
      headers: { ...request.headers, ...credential, 'x-request-id': requestId },
      body: request.body ?? null,
    })
    const isLive = String(headers['content-type']).startsWith('text/event-stream')
    const text = isLive ? await firstChunk(body) : await body.text()
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status < 300) accepted.add(requestId)
    expect(status, text).to.be.within(200, 499)
    const headerEntries = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
    check({ method: route.method, path: request.path, status, headers: new Headers(headerEntries), text })
    if (status === 422) expectNamed(text, () => [...namesIn(request), ...required(route)])
    for (const name in Object.prototype) throw new Error(`Object.prototype has a ${name}`)
  }
  /** Returns the names of all members and parameters that were sent. Errors name lists of a query without their brackets. */
  function namesIn({ path, body }: Sent): string[] {
    const inQuery = [...new URL(path, api.origin).searchParams.keys()].flatMap((name) => [name, name.replace(/\[\]$/, '')])
    const sentBody: unknown = body === undefined ? {} : JSON.parse(body.toString())
    return [...inQuery, ...Object.keys(Object(sentBody))]
  }
  /** Expects that a 422 names a member or parameter that was sent or is missing, or the whole body. */
  function expectNamed(text: string, named: () => readonly string[]): void {
    const { error } = JSON.parse(text) as { error: { code: string; details?: { path: string }[] } }
    if (error.code === 'idempotency_key_reused') return // The fault is in a header, which is checked before the body is read.
    const names = named()
    expect(error.details, text).to.be.an('array').that.is.not.empty
    for (const { path } of error.details ?? [])
      if (path !== '' && !names.some((name) => path === name || path.startsWith(`${name}.`)))
        throw new Error(`${path} was not sent: ${text}`)
  }

  /** Sends random requests to a route. Returns the smallest request that breaks a rule, with its error, or null if none does. */
  async function failureOf(route: Route, i: number): Promise<string | null> {
    const request = fc.tuple(badRequests(route, paramsOf(route), knownValues), fc.constantFrom(...credentialsOf(route)))
    const property = fc.asyncProperty(request, ([sentRequest, as]) => ask(route, sentRequest, as))
    const run = await fc.check(property, {
      numRuns: requestCount,
      seed: seed + i,
      interruptAfterTimeLimit: 200_000,
      markInterruptAsFailure: true,
    })
    if (!run.failed) return null
    const [[smallest] = []] = run.counterexample ?? []
    const body = smallest?.body?.toString().slice(0, 2_000) ?? 'no body'
    return `${route.method} ${smallest?.path} ${JSON.stringify(smallest?.headers)} ${body}\n${String(run.errorInstance ?? 'the requests to this route took too long')}`
  }

  it('gets an error response that names the fault, from every route, and never a 500', async () => {
    // The routes run at the same time, and each sends one request after another, so that a failure shrinks to one request.
    const failures = await Promise.all(routes.map(failureOf))
    console.log(`      seed ${seed}: ${sent} requests to ${routes.length} routes, ${accepted.size} accepted`, Object.fromEntries(statuses))
    expect(failures.filter((failure) => failure !== null).join('\n\n'), `seed ${seed}`).to.equal('')
    expect(sent).to.be.at.least(requestCount * routes.length)
    expect(accepted.size / sent, 'accepted').to.be.within(0.1, 0.6)
  })
  it('stores nothing when it is refused', async () => {
    const refused = Array.from({ length: sent }, (_, i) => `bad-${i + 1}`).filter((id) => !accepted.has(id))
    expect(await leftBehind(refused)).to.deep.equal([])
    // This check shows that the query can find stored events.
    expect(await leftBehind([...accepted])).to.not.be.empty
  })
  it('can be read again when it is accepted', async () => {
    for (const path of ['/v1/webhooks', '/v1/keys'])
      for (let offset = 0, more = true; more; offset += 100) {
        const page = await api.call('GET', `${path}?limit=100&offset=${offset}`, { as: owner })
        expect(page.status, page.text).to.equal(200)
        more = Number(page.get('pagination.total')) > offset + 100
      }
    const audited = await api.call('GET', '/v1/audit', { as: owner })
    const lines = audited.text.trimEnd().split('\n')
    expect(lines.length).to.be.greaterThan(5)
    for (const line of lines) JSON.parse(line)
  })
  it('puts no stream into quarantine when it is accepted', async () => {
    const { store, waiter, keyring } = api.deps
    for (const { name, families } of [tenants(keyring), apiKeys(keyring), webhooks, keyVersions, webhookVersions, audit]) {
      const head = await store.head(families)
      expect(head !== null && (await waiter.waitFor(name, head, 20_000)), `${name} has reached the head`).to.equal(true)
    }
    expect((await api.db.pool.query('select projection, stream, error from quarantined_streams')).rows).to.deep.equal([])
  })
})
