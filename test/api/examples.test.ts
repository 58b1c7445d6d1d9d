import { expect } from 'chai'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

interface Schema {
  readonly $ref?: string
  readonly examples?: readonly unknown[]
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly minimum?: number
}
interface Document {
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
  readonly paths: Readonly<
    Record<
      string,
      Readonly<Record<string, { operationId: string; requestBody?: { content: Readonly<Record<string, { schema: Schema }>> } }>>
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

  /** Returns the example that Swagger UI shows for a schema: its own, or one made of the examples of its parts. */
  const sample = (schema: Schema): unknown => {
    if (schema.$ref !== undefined) return sample(document.components.schemas[schema.$ref.split('/').at(-1)!]!)
    if (schema.examples !== undefined) return schema.examples[0]
    if (schema.default !== undefined) return schema.default
    if (schema.enum !== undefined) return schema.enum[0]
    if (schema.const !== undefined) return schema.const
    if (schema.properties !== undefined)
      return Object.fromEntries(Object.entries(schema.properties).map(([name, part]) => [name, sample(part)]))
    if (schema.items !== undefined) return [sample(schema.items)]
    const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
    return type === 'string' ? 'string' : type === 'object' ? {} : type === 'boolean' ? true : (schema.minimum ?? 0)
  }

  for (const [method, path, status] of [
    ['post', '/v1/keys', 201],
    ['post', '/v1/webhooks', 201],
    ['post', '/v1/events', 202],
    ['post', '/v1/events/batch', 202],
    ['post', '/v1/tenants', 201],
  ] as const)
    it(`work in ${method.toUpperCase()} ${path}`, async () => {
      const body = document.paths[path]?.[method]?.requestBody?.content['application/json']
      if (body === undefined) throw new Error('no body is described')
      const as = path === '/v1/tenants' ? await api.operator() : client
      const response = await api.call(method.toUpperCase(), path, { as, body: sample(body.schema) as object })
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
      const schema = document.paths[change]?.patch?.requestBody?.content['application/json']?.schema
      const response = await api.call('PATCH', `${create}/${id}`, { as: client, body: sample(schema ?? {}) as object })
      expect(response.status, response.text).to.equal(200)
    })
})
