import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

interface Parameter {
  readonly name: string
  readonly in: string
  readonly schema: { readonly format?: string }
}
interface Document {
  readonly paths: Readonly<Record<string, { readonly get?: { readonly parameters: readonly Parameter[] } }>>
}

describe('a time in a query', () => {
  let api: TestApi
  let client: TestClient
  let timesByPath: [path: string, names: string[]][]
  before(async () => {
    api = await startApi()
    client = await api.tenant()
    const { paths } = (await (await fetch(`${api.origin}/openapi.json`)).json()) as Document
    timesByPath = Object.entries(paths).flatMap(([path, { get }]): [string, string[]][] => {
      const timeParameters = get?.parameters.filter(({ in: place, schema }) => place === 'query' && schema.format === 'date-time') ?? []
      return timeParameters.length === 0 ? [] : [[path, timeParameters.map(({ name }) => name)]]
    })
  })
  after(() => api.stop())

  it('may have an offset with an unescaped +, in every parameter of every route', async () => {
    expect(timesByPath.length).to.be.greaterThan(6)
    const id = await api.webhook(client)
    const key = await api.key(client)
    const anHourAgo = new Date(Date.now() + 3_600_000).toISOString().slice(0, 19) // the clock at +02:00 an hour ago: UTC + 2 h - 1 h
    for (const [path, names] of timesByPath)
      for (const name of names) {
        const pathWithId = path.replace('{id}', path.includes('/keys/') ? key.id : id)
        const time = name === 'until' ? '2126-03-31T00:42:50' : anHourAgo
        const accepted = await api.call('GET', `${pathWithId}?${name}=${time}+02:00`, { as: client })
        // An hour ago, most resources did not exist.
        expect(accepted.status, `${path} ${name}: ${accepted.text}`).to.be.oneOf(name === 'as_of' ? [200, 404] : [200])
        const refused = await api.call('GET', `${pathWithId}?${name}=${time}+0200`, { as: client })
        expect(refused.status, `${path} ${name}`).to.equal(422)
        expect(refused.get('error.details.0.message')).to.equal('must be an RFC 3339 time with an offset or Z')
      }
  })
  it('is converted by its offset', async () => {
    const id = await api.webhook(client)
    const [past, present, future] = [-60, 0, 60].map((minutes) =>
      new Date(Date.now() + minutes * 60_000 + 2 * 3_600_000).toISOString().slice(0, 23),
    )
    const at = async (time: string) => (await api.call('GET', `/v1/webhooks/${id}?as_of=${time}+02:00`, { as: client })).status
    expect(await at(past!)).to.equal(404)
    expect(await at(present!)).to.equal(200)
    expect(await at(future!)).to.equal(422)
  })
})
