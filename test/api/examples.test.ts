import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

interface Document {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<Record<string, { operationId: string; requestBody?: { content: Readonly<Record<string, { example: object }>> } }>>
    >
  >
}

describe('the examples in /docs', () => {
  let api: TestApi
  let client: TestClient
  let document: Document
  before(async () => {
    api = await startApi()
    client = await api.tenant()
    document = (await (await fetch(`${api.origin}/openapi.json`)).json()) as Document
  })
  after(() => api.stop())

  const exampleOf = (method: string, path: string): object => {
    const body = document.paths[path]?.[method]?.requestBody?.content['application/json']
    if (body === undefined) throw new Error('no body is described')
    return body.example
  }

  for (const [method, path, status] of [
    ['post', '/v1/keys', 201],
    ['post', '/v1/webhooks', 201],
    ['post', '/v1/events', 202],
    ['post', '/v1/events/batch', 202],
    ['post', '/v1/tenants', 201],
  ] as const)
    it(`work in ${method.toUpperCase()} ${path}`, async () => {
      const as = path === '/v1/tenants' ? await api.operator() : client
      const response = await api.call(method.toUpperCase(), path, { as, body: exampleOf(method, path) })
      const { secret, data } = response.body as { secret?: string; data?: { key?: string } }
      for (const shown of [secret, data?.key]) if (shown !== undefined) api.secrets.add(shown)
      expect(response.status, response.text).to.equal(status)
    })
  for (const [create, change] of [
    ['/v1/keys', '/v1/keys/{id}'],
    ['/v1/webhooks', '/v1/webhooks/{id}'],
  ] as const)
    it(`work in PATCH ${change}`, async () => {
      const id = create === '/v1/keys' ? (await api.key(client)).id : await api.webhook(client)
      const response = await api.call('PATCH', `${create}/${id}`, { as: client, body: exampleOf('patch', change) })
      expect(response.status, response.text).to.equal(200)
    })
})
