import { expect } from 'chai'
import { Webhook } from 'standardwebhooks'
import { localUrl, startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('POST /v1/webhooks', () => {
  let api: TestApi
  let admin: TestClient
  before(async () => {
    api = await startApi({ settings: { maxWebhooksPerTenant: 60 } })
    admin = await api.tenant()
  })
  after(() => api.stop())
  const body = { callback_url: localUrl, event: 'order.created', description: 'Webhook for processing order updates', is_active: true }

  it('returns 201 with the webhook and its secret, without an envelope', async () => {
    const created = await api.call('POST', '/v1/webhooks', { as: admin, body })
    expect(created.status).to.equal(201)
    const [id, secret, created_at] = [created.get('id'), created.get('secret'), created.get('created_at')]
    api.secrets.add(secret)
    expect(created.body).to.deep.equal({
      id,
      ...body,
      key_id: null,
      retry_delays: null,
      deactivation_reason: null,
      failing_since: null,
      secret,
      created_at,
      updated_at: created_at,
    })
    expect(id).to.match(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
    expect(created_at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(created.headers.get('etag')).to.equal('"0"')
    expect(created.headers.get('location')).to.equal(`/v1/webhooks/${id}`)
    expect(created.headers.get('cache-control')).to.equal('no-store')
    const read = await api.call('GET', `/v1/webhooks/${id}`, { as: admin })
    expect(read.status).to.equal(200)
    expect(read.has('secret'), 'the secret is shown once').to.equal(false)
  })
  it('returns 201 with a secret that the official library accepts', async () => {
    const created = await api.call('POST', '/v1/webhooks', { as: admin, body })
    api.secrets.add(created.get('secret'))
    expect(() => new Webhook(created.get('secret'))).to.not.throw()
    expect(Buffer.from(created.get('secret').slice('whsec_'.length), 'base64').length).to.equal(32)
  })
  it('returns 201 for a URL and an event alone: the webhook is active and has no description', async () => {
    const created = await api.call('POST', '/v1/webhooks', { as: admin, body: { callback_url: localUrl, event: '*' } })
    expect(created.get('is_active')).to.equal('true')
    expect(created.text).to.contain('"description":null')
  })
  it('returns 201 with an inactive webhook when requested, with the reason `requested`', async () => {
    const created = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, is_active: false } })
    expect(created.get('is_active')).to.equal('false')
    expect(created.get('deactivation_reason')).to.equal('requested')
  })
  it('returns 201 with the secret and the delays of the request', async () => {
    for (const bytes of [24, 25, 26, 27, 62, 63, 64]) {
      const secret = `whsec_${Buffer.alloc(bytes, bytes).toString('base64')}`
      api.secrets.add(secret)
      const created = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, secret, retry_delays: [0.5, 60] } })
      expect(created.status, `${bytes} bytes`).to.equal(201)
      expect(created.get('secret')).to.equal(secret)
      expect(JSON.parse(created.text).retry_delays).to.deep.equal([0.5, 60])
    }
  })
  it('returns 201 to a key with the id of that key, and no other key sees the webhook', async () => {
    const [creator, other] = [await api.key(admin), await api.key(admin)]
    const created = await api.call('POST', '/v1/webhooks', { as: creator, body })
    expect(created.get('key_id')).to.equal(creator.id)
    expect((await api.call('GET', `/v1/webhooks/${created.get('id')}`, { as: creator })).status).to.equal(200)
    expect((await api.call('GET', `/v1/webhooks/${created.get('id')}`, { as: other })).status).to.equal(404)
  })
  for (const event of ['order.created', 'order.*', '*', 'a', 'x:y/z-1_2.q', 'kolbak.test', 'n'.repeat(255)])
    it(`returns 201 for the pattern ${event.slice(0, 20)}`, async () => {
      expect((await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, event } })).status).to.equal(201)
    })
  for (const url of [
    'https://[::ffff:127.0.0.1]/x',
    'https://there-is-no-such-name.invalid/x',
    'http://127.0.0.1:8080/',
    'https://1.1.1.1/',
  ])
    it(`returns 201 for ${url}`, async () => {
      const created = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, callback_url: url } })
      expect(created.status).to.equal(201)
      expect(created.get('callback_url')).to.equal(url)
    })

  it('returns 201 with the URL in the spelling that is called', async () => {
    for (const [given, stored] of [
      ['https://0x7f000001/x', 'https://127.0.0.1/x'],
      ['https://127.1/ü?q=ü', 'https://127.0.0.1/%C3%BC?q=%C3%BC'],
      ['https://１２７.0.0.1/', 'https://127.0.0.1/'],
      ['https://%31%32%37.0.0.1/a|b', 'https://127.0.0.1/a|b'],
      ['https://127.0.0.1/{id}?a="b"', 'https://127.0.0.1/%7Bid%7D?a=%22b%22'],
      ['HTTPS://127.0.0.1:443/a/../b', 'HTTPS://127.0.0.1:443/a/../b'],
      ['https://127.0.0.1', 'https://127.0.0.1'],
    ] as const) {
      const created = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, callback_url: given } })
      expect(created.get('callback_url'), given).to.equal(stored)
      const changed = await api.call('PATCH', `/v1/webhooks/${created.get('id')}`, { as: admin, body: { callback_url: given } })
      expect(changed.get('callback_url'), given).to.equal(stored)
    }
  })

  describe('returns 422 with the field callback_url, and stores nothing, for', () => {
    for (const [url, says] of [
      ['https://1.1.1.1/a b', 'spaces'],
      [' https://1.1.1.1/', 'spaces'],
      ['https://1.1.1.1/\n', 'spaces'],
      ['https://1.1.1.1/a\tb', 'spaces'],
      ['https://1.1.1.1\\a', 'backslashes'],
      ['https://1.1.1.1/\u0000', 'control characters'],
      ['https://1.1.1.1/\ud800', 'surrogate'],
      ['https:1.1.1.1/', 'two slashes'],
      ['https://1.1.1.1:0/', 'Port 0'],
      [`https://1.1.1.1/${'ü'.repeat(500)}`, 'at most 2048'],
      ['http://there-is-no-such-name.invalid/', 'does not resolve'],
      ['http://1.1.1.1/', 'KOLBAK_ALLOW_HTTP'],
      ['https://10.0.0.1/', 'KOLBAK_ALLOWED_SUBNETS'],
      ['https://169.254.169.254/latest/meta-data', 'KOLBAK_ALLOWED_SUBNETS'],
      ['https://[::1]/', 'KOLBAK_ALLOWED_SUBNETS'],
      ['https://[fd00::1]/', 'KOLBAK_ALLOWED_SUBNETS'],
      ['https://0x0a000001/', 'KOLBAK_ALLOWED_SUBNETS'],
      ['https://user:password@1.1.1.1/', 'credentials'],
      ['ftp://1.1.1.1/', 'https:'],
      ['javascript:alert(1)', 'https:'],
      ['/relative', 'absolute'],
      ['https://', 'absolute'],
      ['', 'at least 1'],
      [`https://1.1.1.1/${'x'.repeat(2048)}`, 'at most 2048'],
    ] as const)
      it(url.slice(0, 50) || '(empty)', async () => {
        const before = await api.events()
        const refused = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, callback_url: url } })
        expect(refused.status).to.equal(422)
        expect(refused.get('error.code')).to.equal('validation_failed')
        expect(refused.get('error.details.0.path')).to.equal('callback_url')
        expect(refused.get('error.details.0.message')).to.contain(says)
        expect(await api.events()).to.equal(before)
      })
  })
  it('returns 422 with every faulty field, including faults that the schema cannot find', async () => {
    const before = await api.events()
    const refused = await api.call('POST', '/v1/webhooks', {
      as: admin,
      body: {
        callback_url: 'https://10.0.0.1/',
        event: 'order*',
        description: 5,
        is_active: 'yes',
        secret: 'whsec_short',
        retry_delays: Array.from({ length: 5 }, () => 604_800),
        id: 'x',
      },
    })
    expect(refused.status).to.equal(422)
    const details: { path: string }[] = JSON.parse(refused.text).error.details
    const paths = details.map((detail) => detail.path).sort()
    expect(paths).to.deep.equal(['callback_url', 'description', 'event', 'id', 'is_active', 'retry_delays', 'secret'])
    expect(await api.events()).to.equal(before)
  })
  for (const event of ['', '**', 'order.**', '*.created', 'order*', '.*.x', 'a b', 'ü', 'order.created\n', 'n'.repeat(256), '.*'])
    it(`returns 422 for the pattern ${JSON.stringify(event.slice(0, 20))}`, async () => {
      const refused = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, event } })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.details.0.path')).to.equal('event')
    })
  for (const [title, secret] of [
    ['too short', `whsec_${Buffer.alloc(23).toString('base64')}`],
    ['too long', `whsec_${Buffer.alloc(65).toString('base64')}`],
    ['without its prefix', Buffer.alloc(32).toString('base64')],
    ['of base64url', `whsec_${'-_'.repeat(16)}`],
    ['of broken base64', `whsec_${'A'.repeat(33)}`],
    ['with stray bits after its last byte', `whsec_${Buffer.alloc(25).toString('base64').replace('A==', 'B==')}`],
    ['with stray bits after its last two bytes', `whsec_${Buffer.alloc(26).toString('base64').replace('A=', 'B=')}`],
    ['with stray bits after its 64 bytes', `whsec_${Buffer.alloc(64).toString('base64').replace('A==', 'P==')}`],
  ])
    it(`returns 422 for a secret ${title}`, async () => {
      const refused = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, secret } })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.details.0.path')).to.equal('secret')
    })
  for (const delays of [[0], [-1], [604_801], Array.from({ length: 21 }, () => 1), ['5'], 5])
    it(`returns 422 for the delays ${JSON.stringify(delays).slice(0, 20)}`, async () => {
      const refused = await api.call('POST', '/v1/webhooks', { as: admin, body: { ...body, retry_delays: delays } })
      expect(refused.status).to.equal(422)
      expect(refused.get('error.details.0.path')).to.match(/^retry_delays/)
    })
  it('returns 409 webhook_limit_reached at the limit of the account, until a webhook is deleted', async () => {
    const small = await api.tenant()
    await api.command(small.tenant, { type: 'ChangeTenantSettings', limits: { webhooks: 2 } })
    const first = await api.webhook(small)
    await api.webhook(small)
    const refused = await api.call('POST', '/v1/webhooks', { as: small, body })
    expect(refused.status).to.equal(409)
    expect(refused.get('error.code')).to.equal('webhook_limit_reached')
    await api.call('DELETE', `/v1/webhooks/${first}`, { as: small })
    expect((await api.call('POST', '/v1/webhooks', { as: small, body })).status).to.equal(201)
  })
})
