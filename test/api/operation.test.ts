import { expect } from 'chai'
import type { HealthReport } from '../../src/api/dependencies.ts'
import type { OperationsReport } from '../../src/api/responses.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('the routes for operators', () => {
  let api: TestApi
  let operator: TestClient
  let admin: TestClient
  let report: HealthReport
  const metricsToken = 'a-token-for-the-metrics'
  before(async () => {
    api = await startApi({ settings: { metricsToken }, replace: () => ({ health: () => report }) })
    operator = await api.operator()
    admin = await api.tenant()
    api.secrets.add(metricsToken)
  })
  after(() => api.stop())
  beforeEach(() => {
    report = { ready: true, checks: [{ name: 'database', ok: true }] }
  })

  describe('GET /health/live', () => {
    it('returns 200 as long as the process runs', async () => {
      report = { ready: false, checks: [] }
      const live = await api.call('GET', '/health/live')
      expect(live.status).to.equal(200)
      expect(live.body).to.deep.equal({ data: { status: 'live' }, error: null, pagination: null })
    })
  })
  describe('GET /health/ready', () => {
    it('returns 200 when the process is ready, with the checks for operators only', async () => {
      const seen = await api.call('GET', '/health/ready')
      expect(seen.status).to.equal(200)
      expect(seen.body).to.deep.equal({ data: { status: 'ready' }, error: null, pagination: null })
      for (const token of [operator.token, metricsToken]) {
        const detailed = await api.call('GET', '/health/ready', { as: { token } })
        expect(detailed.body).to.deep.equal({ data: { status: 'ready', checks: report.checks }, error: null, pagination: null })
      }
      expect((await api.call('GET', '/health/ready', { as: admin })).has('data.checks')).to.equal(false)
    })
    it('returns 503 when it is not ready, with the causes for operators only', async () => {
      report = {
        ready: false,
        checks: [
          { name: 'database', ok: true },
          { name: 'webhooks', ok: false, message: 'behind by 5000 events' },
        ],
      }
      const seen = await api.call('GET', '/health/ready')
      expect(seen.status).to.equal(503)
      expect(seen.get('error.code')).to.equal('not_ready')
      expect(seen.headers.get('retry-after')).to.equal('1')
      expect(seen.has('error.details')).to.equal(false)
      const detailed = await api.call('GET', '/health/ready', { as: { token: metricsToken } })
      expect(detailed.get('error.details.0.path')).to.equal('webhooks')
      expect(detailed.get('error.details.0.message')).to.equal('behind by 5000 events')
    })
    it('returns 401 for an invalid token', async () => {
      expect((await api.call('GET', '/health/ready', { as: { token: 'wrong' } })).status).to.equal(401)
    })
  })
  describe('GET /health', () => {
    it('returns what /health/ready returns', async () => {
      expect((await api.call('GET', '/health')).body).to.deep.equal({ data: { status: 'ready' }, error: null, pagination: null })
      report = { ready: false, checks: [] }
      expect((await api.call('GET', '/health')).status).to.equal(503)
    })
  })
  describe('GET /', () => {
    const browser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }
    it('returns 303 to a browser, and leads it to the documentation', async () => {
      const seen = await fetch(api.origin, { headers: browser, redirect: 'manual' })
      expect(seen.status).to.equal(303)
      const { status, headers } = await fetch(new URL(seen.headers.get('location') ?? '', api.origin))
      expect([status, headers.get('content-type')]).to.deep.equal([200, 'text/html; charset=utf-8'])
    })
    it('returns 200 to a program, with paths that all return something', async () => {
      const seen = await api.call('GET', '/')
      expect(seen.status).to.equal(200)
      const { name, version, api: prefix, ...paths } = (seen.body as { data: Record<string, string> }).data
      expect({ name, prefix }).to.deep.equal({ name: 'Kolbak', prefix: '/v1' })
      expect(version).to.be.a('string')
      for (const path of Object.values(paths)) expect((await fetch(api.origin + path)).status, path).to.equal(200)
    })
  })
  describe('GET /metrics', () => {
    it('returns 200 to the metrics token and to admins, with requests by operation and status', async () => {
      await api.call('GET', '/v1/keys', { as: admin })
      for (const token of [operator.token, metricsToken]) {
        const seen = await api.call('GET', '/metrics', { as: { token } })
        expect(seen.status).to.equal(200)
        expect(seen.text).to.match(/kolbak_http_requests_total\{operation="listKeys",status="200"\} \d+/)
        expect(seen.text).to.contain('kolbak_http_request_seconds_bucket{le="0.001",operation="listKeys"}')
      }
    })
    it('returns 401 without a token or with a wrong one, and 403 without the scope', async () => {
      expect((await api.call('GET', '/metrics')).status).to.equal(401)
      expect((await api.call('GET', '/metrics', { as: { token: `${metricsToken}x` } })).status).to.equal(401)
      expect((await api.call('GET', '/metrics', { as: admin })).status).to.equal(403)
    })
    it('returns 401 for every other token when no metrics token is configured', async () => {
      const without = await startApi()
      try {
        expect((await without.call('GET', '/metrics', { as: { token: 'undefined' } })).status).to.equal(401)
      } finally {
        await without.stop()
      }
    })
  })
  describe('GET /v1/operations', () => {
    it('returns 200 to admins with processes, engines, work that waits, projections and leases', async () => {
      const seen = await api.call('GET', '/v1/operations', { as: operator })
      expect(seen.status).to.equal(200)
      const { data } = seen.body as { data: OperationsReport }
      expect(data.bus.partitions.map(({ partition }) => partition)).to.deep.equal([0, 1])
      expect(data.bus).to.include({ unread: 0, oldest_record_seconds: 0 })
      expect(data.projections.map(({ name, is_live }) => `${name} ${is_live}`)).to.include('webhooks true')
      expect(data.leases.map(({ name }) => name)).to.include('projection/webhooks/1')
      expect(data.database_bytes).to.be.greaterThan(1_000_000)
      expect(data.disk?.free_bytes).to.be.within(1, data.disk!.total_bytes)
      expect(data.last_backup).to.equal(null)
    })
    it('returns 403 to other clients', async () => {
      expect((await api.call('GET', '/v1/operations', { as: admin })).status).to.equal(403)
    })
  })
  describe('GET /openapi.json', () => {
    it('returns 200 with OpenAPI 3.1 of every route, with scopes, errors, and no dangling reference', async () => {
      const response = await api.call('GET', '/openapi.json')
      expect(response.status).to.equal(200)
      const document = JSON.parse(response.text)
      expect(document.openapi).to.equal('3.1.0')
      const operations = Object.entries<Record<string, { operationId: string; security: unknown }>>(document.paths).flatMap(
        ([path, methods]) =>
          Object.entries(methods).map(([method, operation]) => `${method.toUpperCase()} ${path} ${operation.operationId}`),
      )
      const table = api.api.routes.map((route) => `${route.method} ${route.path.replace(/:(\w+)/g, '{$1}')} ${route.operationId}`)
      expect(operations.sort()).to.deep.equal(table.sort())
      expect(new Set(table.map((line) => line.split(' ')[2])).size, 'operation ids are unique').to.equal(table.length)
      expect(document.paths['/v1/keys'].post.security).to.deep.equal([{ oauth2: ['write:keys'] }])
      expect(document.paths['/v1/webhooks'].get.security).to.deep.equal([{ oauth2: ['read:webhooks'] }, { apiKey: [] }])
      expect(Object.keys(document.paths['/v1/webhooks/{id}'].patch.responses)).to.include.members([
        '200',
        '400',
        '401',
        '403',
        '404',
        '409',
        '412',
        '413',
        '415',
        '422',
        '500',
        '503',
      ])
      for (const [, name = ''] of response.text.matchAll(/#\/components\/schemas\/(\w+)/g))
        expect(document.components.schemas, name).to.have.property(name)
    })
    it('describes every route that version 1 of the API must have', async () => {
      const document = JSON.parse((await api.call('GET', '/openapi.json')).text)
      for (const [method, path] of [
        ['post', '/v1/auth'],
        ['get', '/v1/keys/{id}'],
        ['get', '/v1/keys'],
        ['post', '/v1/keys'],
        ['patch', '/v1/keys/{id}'],
        ['delete', '/v1/keys/{id}'],
        ['get', '/v1/webhooks/{id}'],
        ['get', '/v1/webhooks'],
        ['post', '/v1/webhooks'],
        ['patch', '/v1/webhooks/{id}'],
        ['delete', '/v1/webhooks/{id}'],
        ['post', '/v1/events'],
      ] as const)
        expect(document.paths[path]?.[method], `${method} ${path}`).to.not.equal(undefined)
    })
  })
})
