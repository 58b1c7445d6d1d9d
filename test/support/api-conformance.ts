import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import { isObject } from '../../src/lib/is-object.ts'

/** The parts of an OpenAPI document that this check reads. */
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}
interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>>
}
export interface CheckedResponse {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

const isEmpty = (value: unknown) => isObject(value) && Object.keys(value).length === 0

/** Returns a check of responses against `/openapi.json`. It throws for an undocumented status and for a body that does not fit its schema. */
export function conformance(document: Document): (response: CheckedResponse) => void {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  formatsPlugin.default(ajv)
  const validators = new Map<string, ReturnType<typeof ajv.compile>>()
  const templates = Object.keys(document.paths).map((path) => ({ path, pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}/?$`) }))

  const check = (name: string, schema: object, text: string) => {
    const validate = validators.get(name) ?? ajv.compile({ ...schema, components: document.components })
    validators.set(name, validate)
    const body: unknown = JSON.parse(text)
    if (!validate(body)) throw new Error(`${name}: the body does not fit: ${ajv.errorsText(validate.errors)}\n${text}`)
    // The schema of a member that is always null also accepts {}, because generators of clients cannot read the type null alone.
    for (const member of ['data', 'error', 'pagination'])
      if (isObject(body) && isEmpty(body[member])) throw new Error(`${name}: ${member} is {} instead of null\n${text}`)
  }
  return ({ method, path, status, headers, text }) => {
    const pathname = path.split('?')[0] ?? ''
    // A literal path is preferred to a path with a parameter.
    const template = templates.find((t) => t.path === pathname) ?? templates.find(({ pattern }) => pattern.test(pathname))
    const operation = document.paths[template?.path ?? '']?.[method === 'HEAD' ? 'get' : method.toLowerCase()]
    const name = `${method} ${template?.path ?? pathname} ${status}`
    for (const id of ['x-request-id', 'kolbak-request-id'])
      if (headers.get(id) === null) throw new Error(`${name}: a response without ${id}`)
    if (operation === undefined) {
      if (status !== 404 && status !== 405 && status !== 400) throw new Error(`${name}: no such operation is documented`)
      if (method !== 'HEAD') check(name, { $ref: `#/components/schemas/${pathname === '/v1/auth' ? 'TokenError' : 'ErrorResponse'}` }, text)
      return
    }
    const response = operation.responses[status]
    if (response === undefined) throw new Error(`${name}: this status is not documented for ${operation.operationId}`)
    if (response.content === undefined) {
      if (text !== '') throw new Error(`${name}: no body is documented`)
      return
    }
    if (method === 'HEAD') return
    const type = (headers.get('content-type') ?? '').split(';')[0] ?? ''
    const media = response.content[type]
    if (media === undefined) throw new Error(`${name}: the media type ${type} is not documented`)
    if (type === 'application/json') check(`${name} ${operation.operationId}`, media.schema, text)
  }
}
