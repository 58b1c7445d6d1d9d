import { expect } from 'chai'
import type { Identity } from '../../src/api/identity.ts'
import { createRateLimits, type RateHeaders } from '../../src/api/rate-limits.ts'
import type { TenantId } from '../../src/events/ids.ts'
import type { TenantLimits } from '../../src/events/tenant.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import type { Reply } from '../support/api-client.ts'
import { waitFor } from '../support/wait-for.ts'

describe('rate limits', () => {
  let callers = 0
  const someone = (limits: TenantLimits = {}): Identity => ({
    caller: { tenant: 'T' as TenantId, actor: `client:${++callers}`, scopes: new Set(), key_id: null },
    limits,
    auth: { credential: 'token', generation: 1, token: null },
  })
  const limiter = (eventsPerSecond: number, processes = 1) =>
    createRateLimits({ eventsPerSecond, requestsPerSecond: 2, processes: () => processes })
  const outcome = async (taking: Promise<RateHeaders>): Promise<{ headers: RateHeaders; refused: boolean }> => {
    try {
      return { headers: await taking, refused: false }
    } catch (error) {
      expect(error).to.include({ code: 'rate_limited' })
      return { headers: (error as { headers: RateHeaders }).headers, refused: true }
    }
  }
  /** Returns how many of `tries` concurrent requests are allowed. */
  const countAccepted = async (limits: ReturnType<typeof limiter>, identity: Identity, tries: number) => {
    const all = await Promise.all(Array.from({ length: tries }, () => outcome(limits.take(identity, 'events'))))
    return all.filter(({ refused }) => !refused).length
  }

  it('allow as many requests per second as the limit, and report the remainder', async () => {
    const limits = limiter(2)
    const identity = someone()
    expect((await outcome(limits.take(identity, 'events'))).headers).to.deep.equal({
      'ratelimit-policy': '"events";q=2;w=1',
      ratelimit: '"events";r=1;t=1',
    })
    expect((await outcome(limits.take(identity, 'events'))).headers.ratelimit).to.equal('"events";r=0;t=1')
    const third = await outcome(limits.take(identity, 'events'))
    expect(third.refused).to.equal(true)
    expect(third.headers).to.include({ ratelimit: '"events";r=0;t=1', 'retry-after': '1' })
    await waitFor(async () => !(await outcome(limits.take(identity, 'events'))).refused, { within: 4_000 })
  })
  it('count each caller separately, and events separately from requests', async () => {
    const limits = limiter(1)
    const [first, second] = [someone(), someone()]
    expect([await countAccepted(limits, first, 5), await countAccepted(limits, second, 5)]).to.deep.equal([1, 1])
    expect((await outcome(limits.take(first, 'requests'))).headers['ratelimit-policy']).to.equal('"requests";q=2;w=1')
  })
  it("use a tenant's own limits if it has any", async () => {
    const limits = limiter(1)
    expect(await countAccepted(limits, someone({ events_per_second: 7 }), 20)).to.equal(7)
    expect((await outcome(limits.take(someone({ requests_per_second: 9 }), 'requests'))).headers['ratelimit-policy']).to.equal(
      '"requests";q=9;w=1',
    )
  })
  it('are shared between the live processes', async () => {
    let processes = 3
    const limits = createRateLimits({ eventsPerSecond: 10, requestsPerSecond: 1, processes: () => processes })
    expect(await countAccepted(limits, someone(), 20)).to.equal(3)
    processes = 1
    expect(await countAccepted(limits, someone(), 20)).to.equal(10)
  })
  it("allow one request in several seconds when a process's share is below one per second", async () => {
    const limits = limiter(2, 6)
    const identity = someone()
    await limits.take(identity, 'events')
    const second = await outcome(limits.take(identity, 'events'))
    expect([second.refused, second.headers['retry-after']]).to.deep.equal([true, '3'])
  })
  it('allow a whole batch, and take the excess from the following seconds', async () => {
    const limits = limiter(100)
    const identity = someone()
    await limits.take(identity, 'events')
    expect((await limits.takeMore(identity, 'events', 49)).ratelimit).to.equal('"events";r=50;t=1')
    expect((await limits.takeMore(identity, 'events', 250)).ratelimit).to.equal('"events";r=0;t=3')
    expect((await outcome(limits.take(identity, 'events'))).headers['retry-after']).to.equal('3')
    await limits.takeMore(identity, 'events', 100)
    expect((await outcome(limits.take(identity, 'events'))).headers['retry-after']).to.equal('4')
  })

  describe('over HTTP', () => {
    let api: TestApi
    let client: TestClient
    before(async () => {
      api = await startApi({ settings: { eventsPerSecond: 20, requestsPerSecond: 4 } })
    })
    beforeEach(async () => {
      client = await api.tenant()
    })
    after(() => api.stop())
    const post = (as = client) => api.call('POST', '/v1/events', { as, body: { event: 'a', payload: {} } })
    const read = (as: TestClient | { key: string } = client) => api.call('GET', '/v1/webhooks', { as })
    const many = async (times: number, ask: () => Promise<Reply>) => Promise.all(Array.from({ length: times }, ask))
    const statuses = (responses: Reply[]) => responses.map((response) => response.status).sort()

    it('give a 429 with the time to wait, and do nothing', async () => {
      const responses = await many(30, () => post())
      expect(statuses(responses).filter((status) => status === 202)).to.have.length(20)
      const refused = responses.find((response) => response.status === 429)
      expect(refused?.get('error.code')).to.equal('rate_limited')
      expect(refused?.headers.get('retry-after')).to.equal('1')
      expect(refused?.headers.get('ratelimit-policy')).to.equal('"events";q=20;w=1')
      expect(refused?.headers.get('ratelimit')).to.equal('"events";r=0;t=1')
      expect(api.produced.filter(({ record }) => record.tenant === client.tenant)).to.have.length(20)
      await waitFor(async () => (await post()).status === 202, { within: 4_000 })
    })
    it('are reported in every response to a known caller, including refusals', async () => {
      const fine = await read()
      expect(fine.headers.get('ratelimit')).to.equal('"requests";r=3;t=1')
      const missing = await api.call('GET', '/v1/webhooks/x', { as: client })
      expect([missing.status, missing.headers.get('ratelimit')]).to.deep.equal([404, '"requests";r=2;t=1'])
      const forbidden = await api.call('GET', '/v1/tenants', { as: client })
      expect([forbidden.status, forbidden.headers.get('ratelimit')]).to.deep.equal([403, '"requests";r=1;t=1'])
    })
    it('count a batch as its number of events', async () => {
      const events = Array.from({ length: 15 }, () => ({ event: 'a', payload: {} }))
      const batch = await api.call('POST', '/v1/events/batch', { as: client, body: { events } })
      expect([batch.status, batch.headers.get('ratelimit')]).to.deep.equal([202, '"events";r=5;t=1'])
      expect(statuses(await many(7, () => post()))).to.deep.equal([202, 202, 202, 202, 202, 429, 429])
    })
    it('do not let a client use up the limit of other clients or keys of its tenant', async () => {
      const key = await api.key(client)
      const sibling = await api.sibling(client, ['read:webhooks'])
      await many(6, () => read())
      expect((await read()).status).to.equal(429)
      expect((await read(sibling)).status).to.equal(200)
      expect(statuses(await many(5, () => read(key)))).to.deep.equal([200, 200, 200, 200, 429])
    })
    it("apply a tenant's own limit within a second", async () => {
      await api.command(client.tenant, { type: 'ChangeTenantSettings', limits: { requests_per_second: 100 } })
      await waitFor(async () => (await read()).headers.get('ratelimit-policy') === '"requests";q=100;w=1', { within: 3_000 })
    })
    it('do not count requests for tokens and the routes for operators', async () => {
      for (let i = 0; i < 6; i++) expect((await api.call('GET', '/health/live')).headers.get('ratelimit')).to.equal(null)
    })
  })
})
