import { request } from 'node:http'
import { expect } from 'chai'
import { createStartCodes } from '../../src/api/ui/start-codes.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

const dashboardHeaders = { 'x-kolbak-ui': '1', 'sec-fetch-site': 'same-origin' }

describe('the dashboard', () => {
  let api: TestApi
  let client: TestClient
  before(async () => {
    api = await startApi({ settings: { hasUi: true } })
    client = await api.tenant()
  })
  after(() => api.stop())

  const signIn = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${api.origin}/ui/session`, {
      method: 'POST',
      headers: { ...dashboardHeaders, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
  const credential = () => ({ client_id: client.clientId, client_secret: client.secret })
  const cookieOf = (response: Response) => response.headers.get('set-cookie')?.split(';')[0] ?? ''
  const call = (path: string, headers: Record<string, string>, init: RequestInit = {}) => fetch(api.origin + path, { ...init, headers })

  describe('as a page', () => {
    it('is where / leads a browser, and other callers still get JSON', async () => {
      const browser = await call('/', { accept: 'text/html' }, { redirect: 'manual' })
      expect([browser.status, browser.headers.get('location')]).to.deep.equal([303, '/ui/'])
      expect((await (await call('/', {})).json()) as object).to.have.nested.property('data.name', 'Kolbak')
    })
    it('is the same at every path of a screen, forbids everything foreign, and is never cached without asking', async () => {
      const pages = await Promise.all(['/ui/', '/ui/webhooks', '/ui/events/a%2Fb'].map((path) => call(path, {})))
      const texts = await Promise.all(pages.map((page) => page.text()))
      expect(new Set(texts).size).to.equal(1)
      for (const { status, headers } of pages) {
        expect(status).to.equal(200)
        const policy = headers.get('content-security-policy') ?? ''
        for (const rule of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"])
          expect(policy).to.include(rule)
        expect(policy).to.not.match(/unsafe|https?:/)
        expect(headers.get('cache-control')).to.equal('no-cache')
      }
    })
    it('loads at most 60 kB of compressed script and style, from names that may be cached for ever', async () => {
      const page = await (await call('/ui/', {})).text()
      const names = [...page.matchAll(/(?:src|href)="(\/ui\/assets\/[^"]+)"/g)].map(([, name]) => name!)
      expect(names.length).to.equal(3)
      let bytes = 0
      for (const name of names) {
        const response = await call(name, { 'accept-encoding': 'gzip' })
        expect(response.headers.get('cache-control')).to.include('immutable')
        bytes += Number(response.headers.get('content-length'))
      }
      expect(bytes).to.be.within(10_000, 60_000)
      expect((await call('/ui/assets/app-000000000000.js', {})).status).to.equal(404)
    })
  })

  describe('as a session', () => {
    it('begins with the credentials of a client, in a cookie that no script and no other site can use', async () => {
      const response = await signIn(credential())
      expect(response.status).to.equal(204)
      expect(response.headers.get('set-cookie')).to.match(/^kolbak-ui=[\w-]+; Path=\/; HttpOnly; SameSite=Strict; Max-Age=43200$/)
      const me = await call('/v1/me', { ...dashboardHeaders, cookie: cookieOf(response) })
      expect((await me.json()) as object).to.have.nested.property('data.id', client.clientId)
    })
    it('begins with an API key, and then shows what the key may see', async () => {
      const { id, key } = await api.key(client)
      const cookie = cookieOf(await signIn({ key }))
      const me = (await (await call('/v1/me', { ...dashboardHeaders, cookie })).json()) as { data: object }
      expect(me.data).to.deep.include({ kind: 'key', id })
      expect((await call('/v1/events', { ...dashboardHeaders, cookie })).status).to.equal(401)
    })
    it('begins with a start code, which can be used once', async () => {
      const code = await createStartCodes(api.db.pool).issue(client.clientId)
      const [first, second] = [await signIn({ start: code }), await signIn({ start: code })]
      expect([first.status, second.status]).to.deep.equal([204, 401])
      expect((await call('/v1/me', { ...dashboardHeaders, cookie: cookieOf(first) })).status).to.equal(200)
    })
    it('does not begin with a start code after ten minutes', async () => {
      const code = await createStartCodes(api.db.pool).issue(client.clientId)
      await api.db.pool.query(`update ui_start_codes set expires_at = expires_at - interval '10 minutes'`)
      expect((await signIn({ start: code })).status).to.equal(401)
    })
    it('has a cookie with the prefix __Host- over TLS, and no cookie over plain HTTP to another machine', async () => {
      const tls = await signIn(credential(), { origin: 'https://hooks.example.com' })
      expect(tls.headers.get('set-cookie')).to.match(/^__Host-kolbak-ui=[\w-]+; Secure; Path=\/; HttpOnly; SameSite=Strict;/)
      const [status, body] = await new Promise<[number | undefined, string]>((resolve, reject) => {
        const headers = { ...dashboardHeaders, 'content-type': 'application/json', host: 'hooks.example.com' }
        request(`${api.origin}/ui/session`, { method: 'POST', headers }, async (response) => {
          resolve([response.statusCode, Buffer.concat(await response.toArray()).toString()])
        })
          .on('error', reject)
          .end(JSON.stringify(credential()))
      })
      expect([status, body]).to.satisfy(([code, text]: [number, string]) => code === 400 && text.includes('https'))
    })
    it('does not begin with wrong credentials', async () => {
      for (const body of [{ ...credential(), client_secret: 'wrong' }, { key: 'AAAABBBBCCCC' }, { start: 'x' }, {}]) {
        const response = await signIn(body)
        expect(response.status, JSON.stringify(body)).to.equal(401)
        expect(response.headers.get('set-cookie')).to.equal(null)
      }
      expect((await signIn([])).status).to.equal(400)
    })
    it('ends by DELETE, which empties the cookie', async () => {
      const response = await call('/ui/session', dashboardHeaders, { method: 'DELETE' })
      expect([response.status, response.headers.get('set-cookie')]).to.deep.equal([
        204,
        'kolbak-ui=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0',
      ])
    })
    it('ends within a second when its client is revoked', async () => {
      const other = await api.sibling(client, ['read:webhooks'])
      const cookie = cookieOf(await signIn({ client_id: other.clientId, client_secret: other.secret }))
      expect((await call('/v1/me', { ...dashboardHeaders, cookie })).status).to.equal(200)
      await api.command(client.tenant, { type: 'RevokeClient', client_id: other.clientId })
      await waitFor(async () => (await call('/v1/me', { ...dashboardHeaders, cookie })).status === 401, { within: 3_000 })
    })
    it('does not count for a request that another site causes, nor for a change without the header of the dashboard', async () => {
      const cookie = cookieOf(await signIn(credential()))
      const read = (headers: Record<string, string>) => call('/v1/me', { cookie, ...headers })
      expect((await read({ 'sec-fetch-site': 'same-origin' })).status).to.equal(200)
      for (const headers of [
        {},
        { 'sec-fetch-site': 'none' },
        { 'sec-fetch-site': 'cross-site', 'x-kolbak-ui': '1' },
        { 'sec-fetch-site': 'same-site' },
      ])
        expect((await read(headers as Record<string, string>)).status, JSON.stringify(headers)).to.equal(401)
      const change = (headers: Record<string, string>) =>
        call(
          '/v1/keys',
          { cookie, 'content-type': 'application/json', ...headers },
          { method: 'POST', body: '{"name":"x","scopes":["read:webhooks"]}' },
        )
      expect((await change({ 'sec-fetch-site': 'same-origin' })).status).to.equal(401)
      const created = await change(dashboardHeaders)
      expect(created.status).to.equal(201)
      api.secrets.add(((await created.json()) as { data: { key: string } }).data.key)
    })
    it('gives way to a credential in the headers', async () => {
      const cookie = cookieOf(await signIn(credential()))
      const other = await api.tenant()
      const me = await call('/v1/me', { ...dashboardHeaders, cookie, authorization: `Bearer ${other.token}` })
      expect((await me.json()) as object).to.have.nested.property('data.id', other.clientId)
    })
    it('cannot be forged or changed', async () => {
      const cookie = cookieOf(await signIn(credential()))
      for (const forged of [`${cookie.slice(0, -4)}AAAA`, 'kolbak-ui=AAAA', 'kolbak-ui='])
        expect((await call('/v1/me', { ...dashboardHeaders, cookie: forged })).status, forged).to.equal(401)
    })
  })

  it('does not exist with KOLBAK_UI=false, and / leads a browser to /docs', async () => {
    const without = await startApi()
    for (const path of ['/ui/', '/ui/assets/x', '/ui/session']) expect((await fetch(without.origin + path)).status).to.equal(404)
    const browser = await fetch(`${without.origin}/`, { headers: { accept: 'text/html' }, redirect: 'manual' })
    expect(browser.headers.get('location')).to.equal('/docs/')
    await without.stop()
  })
})
