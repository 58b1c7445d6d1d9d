import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('GET /v1/jobs', () => {
  let api: TestApi
  let client: TestClient
  before(async () => {
    api = await startApi()
    client = await api.tenant()
  })
  after(() => api.stop())
  const begin = async (as: TestClient | { key: string } = client): Promise<{ job: string; webhook: string }> => {
    const webhook = await api.webhook(as)
    const response = await api.call('POST', `/v1/webhooks/${webhook}/replay`, { as: client, body: { since: '2026-01-01T00:00:00Z' } })
    return { job: response.get('data.id'), webhook }
  }
  const list = async (query = '', as: TestClient | { key: string } = client) => {
    const { status, body } = await api.call('GET', `/v1/jobs${query}`, { as })
    const { data, pagination } = body as { data: { id: string }[] | null; pagination: { next_cursor: string | null } | null }
    return { status, ids: data?.map(({ id }) => id), next: pagination?.next_cursor ?? null }
  }

  it('returns 200 with the jobs of the account, newest first, page by page', async () => {
    expect(await list()).to.deep.equal({ status: 200, ids: [], next: null })
    const jobs: string[] = []
    for (let i = 0; i < 3; i++) jobs.unshift((await begin()).job)
    expect((await list()).ids).to.deep.equal(jobs)
    const first = await list('?limit=2')
    expect(first.ids).to.deep.equal(jobs.slice(0, 2))
    expect(await list(`?limit=2&cursor=${first.next}`)).to.deep.equal({ status: 200, ids: jobs.slice(2), next: null })
  })
  it('returns 200 with the jobs of a webhook or of a status', async () => {
    const { job, webhook } = await begin()
    expect((await list(`?webhook=${webhook}`)).ids).to.deep.equal([job])
    await api.call('DELETE', `/v1/jobs/${job}`, { as: client })
    expect((await list('?status=cancelled')).ids).to.deep.equal([job])
    expect((await list('?status=running')).ids).to.not.include(job)
  })
  it('returns 200 to a key with the jobs of its own webhooks, and nothing to another tenant', async () => {
    const key = await api.key(client)
    const { job } = await begin(key)
    expect((await list('', key)).ids).to.deep.equal([job])
    expect((await list('', await api.key(client))).ids).to.deep.equal([])
    expect((await list('', await api.tenant())).ids).to.deep.equal([])
  })
  it('returns 422 for a cursor that is not of this list', async () => {
    for (const cursor of ['x', 'WyJ4Il0']) expect((await list(`?cursor=${cursor}`)).status).to.equal(422)
  })
})
