import { expect } from 'chai'
import { createOpenApiDocument } from '../../src/api/openapi.ts'
import { openRoute } from '../../src/api/route.ts'
import { envelope } from '../../src/api/schemas/common.ts'
import { object } from '../../src/api/schemas/json-schema.ts'
import { conformance } from '../support/api-conformance.ts'

// Every API test uses this check, so it must be able to fail.
describe('the check of responses against /openapi.json', () => {
  const table = [
    openRoute({
      method: 'GET',
      path: '/things/:id',
      operationId: 'getThing',
      summary: 'A thing',
      description: 'Returns a thing.',
      tag: 'Things',
      credentials: 'none',
      responses: {
        200: { description: 'It.', schema: envelope(object({ n: { type: 'integer', examples: [1] } })) },
        204: { description: 'Nothing.' },
      },
      handler: async () => ({ status: 204 }),
    }),
  ]
  const check = conformance(JSON.parse(JSON.stringify(createOpenApiDocument(table, '1'))))
  const json = { 'content-type': 'application/json; charset=utf-8', 'x-request-id': 'r', 'kolbak-request-id': 'k' }
  const response = (status: number, body: unknown, headers: Record<string, string> = json, method = 'GET', path = '/things/1?x=1') =>
    check({ method, path, status, headers: new Headers(headers), text: body === undefined ? '' : JSON.stringify(body) })
  const validBody = { data: { n: 1 }, error: null, pagination: null }
  const notFound = { data: null, error: { code: 'not_found', message: 'x' }, pagination: null }

  it('accepts documented responses', () => {
    response(200, validBody)
    response(204, undefined)
    response(404, notFound)
    response(405, notFound, json, 'PUT')
    response(404, notFound, json, 'GET', '/nothing')
  })
  for (const [title, status, body, headers, path] of [
    ['a status that is not documented', 201, validBody, json, undefined],
    ['a wrong type', 200, { ...validBody, data: { n: '1' } }, json, undefined],
    ['a field that is missing', 200, { ...validBody, data: {} }, json, undefined],
    ['a field that is not documented', 200, { ...validBody, data: { n: 1, m: 2 } }, json, undefined],
    ['a response without its envelope', 200, { n: 1 }, json, undefined],
    ['a body where none is documented', 204, validBody, json, undefined],
    ['an empty object where null is documented', 200, { ...validBody, error: {} }, json, undefined],
    ['an error without a code', 404, { ...notFound, error: { message: 'x' } }, json, undefined],
    ['another media type', 200, validBody, { ...json, 'content-type': 'text/html' }, undefined],
    ['no request id', 200, validBody, { 'content-type': 'application/json' }, undefined],
    ['a success of a route that is not documented', 200, validBody, json, '/nothing'],
  ] as const)
    it(`refuses ${title}`, () => {
      expect(() => response(status, body, headers, 'GET', path)).to.throw()
    })
})
