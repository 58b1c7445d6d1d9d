import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import { expect } from 'chai'
import { errorCodes, errorSpec } from '../../src/api/errors.ts'
import { bearerScopes } from '../../src/events/tenant.ts'
import { isObject } from '../../src/lib/is-object.ts'
import { startApi, type TestApi } from '../support/api.ts'

interface Media {
  readonly schema: object
  readonly example?: unknown
  readonly examples?: Readonly<Record<string, { readonly value: unknown } | { readonly $ref: string }>>
}
interface Parameter {
  readonly name: string
  readonly in: string
  readonly description?: string
  readonly schema: { readonly examples?: readonly unknown[] }
  readonly example?: unknown
}
interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly description: string
  readonly tags: readonly string[]
  readonly parameters: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> }
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Readonly<Record<string, Media>> }>>
}
interface Document {
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly webhooks: Readonly<Record<string, { readonly $ref: string }>>
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>
    readonly examples: Readonly<Record<string, { readonly value: unknown }>>
    readonly pathItems: Readonly<Record<string, { readonly post: Operation }>>
    readonly securitySchemes: Readonly<Record<string, { readonly description: string; readonly flows?: unknown }>>
  }
}

/** Codes that no operation lists, because the error occurs before the route is known, or because a caller cannot cause it. */
const codesOfNoOperation = new Set(['method_not_allowed', 'headers_too_large', 'already_exists', 'event_too_large'])

describe('the document /openapi.json', () => {
  let api: TestApi
  let document: Document
  let operations: Operation[]
  let faultsOf: (schema: object, value: unknown) => string
  before(async () => {
    api = await startApi()
    document = (await (await fetch(`${api.origin}/openapi.json`)).json()) as Document
    operations = Object.values(document.paths).flatMap((methods) => Object.values(methods))
    const ajv = new Ajv2020({ strict: false, allErrors: true })
    formatsPlugin.default(ajv)
    const validators = new Map<string, ReturnType<typeof ajv.compile>>() // a schema is compiled once, because this takes 20 ms
    faultsOf = (schema, value) => {
      const key = JSON.stringify(schema)
      const validate = validators.get(key) ?? ajv.compile({ ...schema, components: document.components })
      validators.set(key, validate)
      return validate(value) ? '' : `${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`
    }
  })
  after(() => api.stop())
  const exampleValue = (example: { readonly value: unknown } | { readonly $ref: string }): unknown =>
    'value' in example ? example.value : document.components.examples[example.$ref.split('/').at(-1)!]?.value

  it('describes each operation in sentences that no other operation has', () => {
    for (const { operationId, summary, description } of operations) {
      expect(description, operationId).to.match(/^[A-Z`][\s\S]{60,}\.$/)
      expect(description, operationId).to.not.contain(summary)
    }
    expect(new Set(operations.map(({ description }) => description)).size).to.equal(operations.length)
  })
  it('has an example of each request body, which its schema accepts', () => {
    for (const { operationId, requestBody } of operations)
      for (const { schema, example } of Object.values(requestBody?.content ?? {})) {
        expect(example, operationId).to.be.an('object').that.is.not.empty
        expect(faultsOf(schema, example), operationId).to.equal('')
      }
  })
  it('has an example of each successful response, which its schema accepts', () => {
    for (const { operationId, responses } of operations)
      for (const [status, { content = {} }] of Object.entries(responses))
        if (Number(status) < 300)
          for (const { schema, example } of Object.values(content)) {
            expect(example, operationId).to.not.equal(undefined)
            expect(faultsOf(schema, example), operationId).to.equal('')
          }
  })
  it('has an example of each error, with its code and a sentence, which the schema accepts', () => {
    const codes = new Set<string>()
    for (const { operationId, responses } of operations)
      for (const [status, { content = {} }] of Object.entries(responses))
        if (Number(status) >= 400) {
          const { schema, examples = {} } = content['application/json']!
          expect(Object.keys(examples), `${operationId} ${status}`).to.not.deep.equal([])
          for (const [code, example] of Object.entries(examples)) {
            const value = exampleValue(example)
            expect(faultsOf(schema, value), `${operationId} ${code}`).to.equal('')
            const { error, error_description } = value as { error: unknown; error_description?: string }
            const message = isObject(error) ? error.message : error_description
            expect(message, `${operationId} ${code}`).to.match(/^[A-Za-z].+\.$/)
            if (!isObject(error)) continue
            expect(error.code, operationId).to.equal(code)
            expect(errorSpec(code as never).status, `${operationId} ${code}`).to.equal(Number(status))
            codes.add(code)
          }
        }
    expect(errorCodes.filter((code) => !codes.has(code) && !codesOfNoOperation.has(code))).to.deep.equal([])
  })
  it('has the sentence of the service in the example of a missing field', async () => {
    const client = await api.tenant()
    for (const path of ['/v1/webhooks', '/v1/keys', '/v1/events', '/v1/events/batch']) {
      const refused = await api.call('POST', path, { as: client, body: {} })
      const example = document.paths[path]!.post!.responses['422']!.content!['application/json']!.examples!.validation_failed!
      const { details } = (exampleValue(example) as { error: { details: object[] } }).error
      expect((refused.body as { error: { details: object[] } }).error.details, path).to.deep.include(details[0])
    }
  })
  it('describes each parameter, and has an example of those in a path', () => {
    for (const { operationId, parameters } of operations)
      for (const { name, description, schema, example, in: place } of parameters) {
        expect(description, `${operationId} ${name}`).to.be.a('string')
        if (place === 'path') expect(faultsOf(schema, example), `${operationId} ${name}`).to.equal('')
      }
  })
  it('describes each scope, each credential and each group of operations', () => {
    const { flows, ...oauth2 } = document.components.securitySchemes.oauth2!
    const { scopes } = (flows as { clientCredentials: { scopes: Record<string, string> } }).clientCredentials
    expect(Object.keys(scopes)).to.deep.equal([...bearerScopes])
    for (const [scope, description] of Object.entries(scopes)) expect(description, scope).to.match(/^[A-Z].{10,}\.$/)
    for (const scheme of [oauth2, ...Object.values(document.components.securitySchemes)]) expect(scheme.description).to.match(/\.$/)
    for (const tag of operations.flatMap(({ tags }) => tags))
      expect(document.tags.find(({ name }) => name === tag)?.description).to.match(/\.$/)
  })
  it('avoids constructs on which generators of clients fail', () => {
    const faults: string[] = []
    const look = (value: unknown, path: string): void => {
      if (Array.isArray(value)) for (const [i, item] of value.entries()) look(item, `${path}.${i}`)
      if (!isObject(value) || path.endsWith('.example') || path.endsWith('.examples')) return
      const isSchema = 'type' in value || 'enum' in value || 'const' in value
      const isCombined = /\.anyOf\.\d+$/.test(path)
      if (value.type === 'null' && !isCombined) faults.push(`${path}: null as a type of its own`)
      if (isSchema && !('type' in value) && ('enum' in value || 'const' in value)) faults.push(`${path}: an enum without a type`)
      const isMap = value.properties === undefined && value.additionalProperties === undefined && value.maxProperties !== 0
      // openapi-typescript makes a member with a default required (https://openapi-ts.dev/cli, defaultNonNullable).
      if ('default' in value && path.startsWith('.components.schemas')) faults.push(`${path}: a member with a default`)
      if (value.type === 'object' && isMap) faults.push(`${path}: an object without members`)
      for (const [name, member] of Object.entries(value)) look(member, `${path}.${name}`)
    }
    look(document, '')
    const words = Object.values(document.components.schemas).flatMap((schema) =>
      'enum' in schema && Array.isArray(schema.enum) ? schema.enum : [],
    )
    if (new Set(words).size < words.length) faults.push('two named enums with the same word, which Go would declare twice')
    for (const { operationId, requestBody } of operations)
      if (Object.keys(requestBody?.content ?? {}).length > 1) faults.push(`${operationId}: a body with two media types`)
    expect(faults).to.deep.equal([])
  })
  it('lists the operations by tag, in the order of the tags, and those of a collection before those of its members', () => {
    const listed = Object.entries(document.paths).map(([path, methods]) => ({
      depth: path.split('/').length,
      tag: document.tags.findIndex(({ name }) => name === Object.values(methods)[0]!.tags[0]),
    }))
    expect(listed).to.deep.equal(listed.toSorted((a, b) => a.tag - b.tag || a.depth - b.depth))
    const tagOf = (id: string) => operations.find(({ operationId }) => operationId === id)?.tags
    expect([tagOf('replayWebhook'), tagOf('listWebhookHistory'), tagOf('listKeyHistory'), tagOf('explainEvent')]).to.deep.equal([
      ...[['Webhooks'], ['Webhooks'], ['Keys'], ['Events']],
    ])
    expect(Object.keys(document.paths['/v1/webhooks']!)).to.deep.equal(['post', 'get'])
  })
  it('has a limited size', async () => {
    expect(JSON.stringify(document).length).to.be.lessThan(650_000)
  })
  it('forbids half of a surrogate pair in every text that is stored', () => {
    const faults: string[] = []
    const look = (schema: unknown, path: string): void => {
      if (!isObject(schema)) return
      const isText = [schema.type].flat().includes('string')
      const isLimited = ['enum', 'const', 'pattern', 'format', 'x-well-formed'].some((keyword) => keyword in schema)
      // The check of callback URLs refuses surrogates itself, and a request for a token is not stored.
      if (isText && !isLimited && !/callback_url$|^TokenRequest/.test(path)) faults.push(path)
      if (typeof schema.$ref === 'string') look(document.components.schemas[schema.$ref.split('/').at(-1)!], schema.$ref.split('/').at(-1)!)
      if (isObject(schema.properties)) for (const [name, part] of Object.entries(schema.properties)) look(part, `${path}.${name}`)
      look(schema.items, `${path}.items`)
    }
    for (const { requestBody } of operations) for (const { schema } of Object.values(requestBody?.content ?? {})) look(schema, '')
    expect(faults).to.deep.equal([])
  })
  it('describes the request that receivers get, with an example of its body and of each header', () => {
    expect(document.webhooks).to.deep.equal({ event: { $ref: '#/components/pathItems/event' } })
    const { post } = document.components.pathItems.event!
    const { schema, example } = post.requestBody!.content['application/json']!
    expect(faultsOf(schema, example)).to.equal('')
    for (const { name, schema: headerSchema, example: value } of post.parameters) expect(faultsOf(headerSchema, value), name).to.equal('')
    expect(Object.keys(post.responses)).to.include.members(['2XX', '410', 'default'])
  })
})
