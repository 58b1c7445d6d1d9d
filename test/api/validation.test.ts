import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect } from 'chai'
import { object } from '../../src/api/schemas/json-schema.ts'
import { createValidator } from '../../src/api/validation.ts'
import { startApi } from '../support/api.ts'

describe('the validation of a value', () => {
  const check = createValidator(
    object({ names: { type: 'array', maxItems: 3, uniqueItems: true, items: { type: 'string' } }, other: { type: 'integer' } }),
  )

  it('reports that a list is too long, the faults of the items within the limit, and the faults of all other fields', () => {
    expect(check({ names: ['a', 5, 'c', 7, 8], other: 'x' }).details).to.deep.equal([
      { path: 'names', message: 'must have at most 3 items' },
      { path: 'names.1', message: 'must be string' },
      { path: 'other', message: 'must be integer' },
    ])
  })
  it('refuses a list that is too long, even if all items within the limit are valid', () => {
    expect(check({ names: ['a', 'b', 'c', 'd'], other: 1 }).details).to.deep.equal([
      { path: 'names', message: 'must have at most 3 items' },
    ])
  })
  it('examines only the items within the limit, even if a list has half a million', () => {
    const value = { names: Array.from({ length: 500_000 }, () => 5), other: 1 }
    const times = Array.from({ length: 5 }, () => {
      const startedAt = performance.now()
      expect(check(value).details).to.have.length(4) // the list is too long, and its three items within the limit are no strings
      return performance.now() - startedAt
    })
    // The shortest of five runs counts, because another process may have used the processor during the others.
    expect(Math.min(...times)).to.be.lessThan(100)
  })
  it('returns a valid value as it is', () => {
    const value = { names: ['a'], other: 1 }
    expect(check(value)).to.deep.equal({ value })
  })
})

describe('the schemas of requests', () => {
  it('are valid JSON Schemas on every route', async () => {
    const { api, stop } = await startApi()
    const ajv = new Ajv2020()
    const schemas = api.routes.flatMap(({ operationId, body, query }) =>
      [body, query].map((schema) => ({ operationId, schema: schema ?? {} })),
    )
    const faulty = schemas.filter(({ schema }) => !ajv.validateSchema(schema)).map(({ operationId }) => operationId)
    await stop()
    expect(schemas.length).to.be.greaterThan(60)
    expect(faulty).to.deep.equal([])
  })
})
