import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import { ulid } from 'ulid'
import { parseClientId } from '../../src/api/ids.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { waitFor } from '../support/wait-for.ts'

const form = { 'content-type': 'application/x-www-form-urlencoded' }

describe('POST /v1/auth', () => {
  let api: TestApi
  let client: TestClient
  before(async () => {
    api = await startApi({ settings: { tokenTtlSeconds: 600 } })
    client = await api.tenant(['read:keys', 'write:keys', 'read:webhooks'])
  })
  after(() => api.stop())

  const json = (body: unknown, headers: Record<string, string> = {}) => api.call('POST', '/v1/auth', { body, headers })
  const asForm = (fields: Record<string, string>, headers: Record<string, string> = {}) =>
    api.call('POST', '/v1/auth', { raw: new URLSearchParams(fields).toString(), headers: { ...form, ...headers } })
  const basic = (id: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`,
  })
  const grant = { grant_type: 'client_credentials' }
  const validRequest = () => ({ ...grant, client_id: client.clientId, client_secret: client.secret })
  const works = async (token: string) => (await api.call('GET', '/v1/keys', { as: { token } })).status === 200
  const keep = (text: string): string => {
    api.secrets.add(text)
    return text
  }

  it('returns 200 for JSON: a working token, its lifetime, and its scopes', async () => {
    const response = await json(validRequest())
    expect(response.status).to.equal(200)
    const token = keep(response.get('access_token'))
    expect(response.body).to.deep.equal({
      access_token: token,
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'read:keys write:keys read:webhooks',
    })
    expect(response.headers.get('cache-control')).to.equal('no-store')
    expect(response.headers.get('pragma')).to.equal('no-cache')
    expect(await works(token)).to.equal(true)
  })
  it('returns 200 for a form, and for HTTP Basic with a form or with JSON', async () => {
    const basically = basic(client.clientId, client.secret)
    for (const response of [await asForm(validRequest()), await asForm(grant, basically), await json(grant, basically)]) {
      expect(response.status).to.equal(200)
      expect(await works(keep(response.get('access_token')))).to.equal(true)
    }
  })
  it('returns 200 for HTTP Basic with the client_id in the body too, because some libraries send it', async () => {
    const response = await asForm({ ...grant, client_id: client.clientId }, basic(client.clientId, client.secret))
    expect(response.status).to.equal(200)
    keep(response.get('access_token'))
  })
  describe('with a secret of HTTP Basic that holds + or %', () => {
    const issue = async (secret: string): Promise<string> => {
      const client_id = parseClientId(`client_${ulid()}`)
      const secret_hmac = api.deps.keyring.lookup('client-secret', secret)
      await api.command(client.tenant, { type: 'IssueClient', client_id, name: 'x', scopes: ['read:keys'], secret_hmac })
      return client_id
    }
    const header = (userPass: string) => ({ authorization: `Basic ${Buffer.from(userPass).toString('base64')}` })
    const formEncoded = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)

    for (const secret of ['a+b/c==', '100%', 'a%2Bb+%zz', 'one two+three', 'p%C3%A4ss&a=b:c'])
      it(`returns 200 for ${secret} as curl -u sends it, and form-encoded as RFC 6749 says`, async () => {
        const id = await issue(secret)
        for (const userPass of [
          `${id}:${secret}`,
          `${id}:${formEncoded(secret)}`,
          `${id.replace('_', '%5F')}:${encodeURIComponent(secret)}`,
        ]) {
          const response = await asForm(grant, header(userPass))
          expect(response.status, userPass).to.equal(200)
          keep(response.get('access_token'))
        }
        for (const wrong of [`${secret}+`, secret.replace(/[+%]/, '%25%32%42'), ''])
          expect((await asForm(grant, header(`${id}:${wrong}`))).status, wrong).to.equal(401)
      })
    it('counts a wrong secret with two readings once', async () => {
      const strict = await startApi({ settings: { failedCredentialsPerMinute: 2 } })
      try {
        const { clientId } = await strict.tenant()
        const headers = header(`${clientId}:a+b`)
        const statuses: number[] = []
        for (let i = 0; i < 3; i++) statuses.push((await strict.call('POST', '/v1/auth', { body: grant, headers })).status)
        expect(statuses).to.deep.equal([401, 401, 429])
      } finally {
        await strict.stop()
      }
    })
  })
  it('returns 200 and ignores unknown parameters', async () => {
    const response = await json({ ...validRequest(), audience: 'x', resource: [1] })
    expect(response.status).to.equal(200)
    keep(response.get('access_token'))
  })
  it('returns 200 with a token that has only the requested scopes', async () => {
    const response = await json({ ...validRequest(), scope: 'read:webhooks  read:keys' })
    expect(response.get('scope')).to.equal('read:webhooks read:keys')
    const token = keep(response.get('access_token'))
    expect(await works(token)).to.equal(true)
    const refused = await api.call('POST', '/v1/keys', { as: { token }, body: {} })
    expect(refused.status).to.equal(403)
    expect(refused.headers.get('www-authenticate')).to.equal('Bearer realm="kolbak", error="insufficient_scope", scope="write:keys"')
  })
  it('returns 400 invalid_scope for scopes that the client lacks, and for unknown scopes', async () => {
    for (const scope of ['write:webhooks', 'read:keys admin', 'fly']) {
      const refused = await json({ ...validRequest(), scope })
      expect(refused.status).to.equal(400)
      expect(refused.get('error')).to.equal('invalid_scope')
    }
  })
  it('returns 400 unsupported_grant_type for any other grant_type', async () => {
    const refused = await json({ ...validRequest(), grant_type: 'password' })
    expect(refused.status).to.equal(400)
    expect(refused.get('error')).to.equal('unsupported_grant_type')
  })
  it('returns 400 invalid_request for a missing grant_type, wrong types, a body that is not an object, a repeated parameter, and two kinds of credentials', async () => {
    const { grant_type: _, ...without } = validRequest()
    const repeatedParameter = `${new URLSearchParams(validRequest())}&client_id=other`
    const refusals = [
      await json(without),
      await json({ ...validRequest(), client_secret: 5 }),
      await json([validRequest()]),
      await json(null),
      await api.call('POST', '/v1/auth', { raw: repeatedParameter, headers: form }),
      await asForm(validRequest(), basic(client.clientId, client.secret)),
      await asForm({ ...grant, client_id: 'other' }, basic(client.clientId, client.secret)),
    ]
    for (const refused of refusals) {
      expect(refused.status, refused.text).to.equal(400)
      expect(refused.get('error')).to.equal('invalid_request')
      expect(refused.headers.get('cache-control')).to.equal('no-store')
    }
  })
  it('returns 400 invalid_request for broken JSON', async () => {
    const refused = await api.call('POST', '/v1/auth', { raw: '{"grant_type":' })
    expect(refused.status).to.equal(400)
    expect(refused.get('error')).to.equal('invalid_request')
  })
  it('returns 401 invalid_client with one message for a wrong secret, an unknown client, a missing one, and an impossible one', async () => {
    const refusals = [
      await json({ ...validRequest(), client_secret: `${client.secret}x` }),
      await json({ ...validRequest(), client_secret: '' }),
      await json({ ...validRequest(), client_id: 'nobody' }),
      await json({ ...validRequest(), client_id: 'a\u0000b' }),
      await json({ ...validRequest(), client_id: 'x'.repeat(300) }),
    ]
    for (const refused of refusals) {
      expect(refused.status, refused.text).to.equal(401)
      expect(refused.text).to.equal(refusals[0]?.text)
      expect(refused.get('error')).to.equal('invalid_client')
    }
    expect((await json(grant)).get('error')).to.equal('invalid_client')
  })
  it('returns 401 with WWW-Authenticate when the request used HTTP Basic', async () => {
    const tries = [
      basic(client.clientId, 'wrong'),
      { authorization: 'Basic %%%' },
      { authorization: `Basic ${Buffer.from('no-colon').toString('base64')}` },
      { authorization: `Bearer ${client.token}` },
    ]
    for (const headers of tries) {
      const refused = await asForm(grant, headers)
      expect(refused.status).to.equal(401)
      expect(refused.headers.get('www-authenticate')).to.equal('Basic realm="kolbak"')
    }
  })
  it('returns 403 for a suspended account, whose tokens stop working within a second, until it is resumed', async () => {
    const other = await api.tenant(['read:keys'])
    expect(await works(other.token)).to.equal(true)
    await api.command(other.tenant, { type: 'SuspendTenant' })
    const refused = await json({ ...grant, client_id: other.clientId, client_secret: other.secret })
    expect(refused.status).to.equal(403)
    expect(refused.get('error')).to.equal('unauthorized_client')
    await waitFor(
      async () => {
        const tried = await api.call('GET', '/v1/keys', { as: other })
        return tried.status === 403 && tried.get('error.code') === 'tenant_suspended'
      },
      { within: 3_000 },
    )
    await api.command(other.tenant, { type: 'ResumeTenant' })
    await waitFor(() => works(other.token), { within: 3_000 })
  })
  it('returns 413 and 415 in the form of RFC 6749', async () => {
    const large = await json({ ...validRequest(), filler: 'x'.repeat(70_000) })
    expect(large.status).to.equal(413)
    expect(large.get('error')).to.equal('invalid_request')
    const xml = await api.call('POST', '/v1/auth', { raw: '<a/>', headers: { 'content-type': 'text/xml' } })
    expect(xml.status).to.equal(415)
    expect(xml.get('error')).to.equal('invalid_request')
  })
  it('returns 405 with Allow, in the form of RFC 6749', async () => {
    const refused = await api.call('GET', '/v1/auth')
    expect(refused.status).to.equal(405)
    expect(refused.headers.get('allow')).to.equal('POST')
    expect(refused.get('error')).to.equal('invalid_request')
  })
  it('returns 503 temporarily_unavailable when the database cannot be reached, without naming it', async () => {
    const broken = await startApi({
      replace: ({ pool }) => ({
        pool: Object.assign(Object.create(pool), {
          query: async () => {
            throw Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5432'), { code: 'ECONNREFUSED' })
          },
        }),
      }),
    })
    try {
      const refused = await broken.call('POST', '/v1/auth', { body: validRequest() })
      expect(refused.status).to.equal(503)
      expect(refused.get('error')).to.equal('temporarily_unavailable')
      expect(refused.headers.get('retry-after')).to.equal('1')
      expect(refused.text).to.not.contain('10.0.0.1')
    } finally {
      await broken.stop()
    }
  })

  describe('rotation and revocation', () => {
    const rotate = async (owner: TestClient, previous_secret_until: string | null) => {
      const secret = keep(`another-secret-${owner.clientId}`)
      await api.command(owner.tenant, {
        type: 'RotateClientSecret',
        client_id: owner.clientId,
        secret_hmac: api.deps.keyring.lookup('client-secret', secret),
        previous_secret_until,
      })
      return secret
    }
    const tokenBy = (owner: TestClient, secret: string) => json({ ...grant, client_id: owner.clientId, client_secret: secret })

    it('replace a secret at once; former tokens stop working within a second, and new ones work at once', async () => {
      const other = await api.tenant(['read:keys'])
      expect(await works(other.token)).to.equal(true)
      const secret = await rotate(other, null)
      expect((await tokenBy(other, other.secret)).status).to.equal(401)
      const newToken = await tokenBy(other, secret)
      expect(await works(keep(newToken.get('access_token')))).to.equal(true)
      await waitFor(async () => !(await works(other.token)), { within: 3_000 })
      const refused = await api.call('GET', '/v1/keys', { as: other })
      expect(refused.status).to.equal(401)
      expect(refused.headers.get('www-authenticate')).to.equal('Bearer realm="kolbak", error="invalid_token"')
    })
    it('accept both secrets until the overlap ends', async () => {
      const other = await api.tenant(['read:keys'])
      const secret = await rotate(other, new Date(Date.now() + 60_000).toISOString())
      for (const either of [other.secret, secret]) keep((await tokenBy(other, either)).get('access_token'))
      const newClient = await api.tenant(['read:keys'])
      await rotate(newClient, new Date(Date.now() - 1).toISOString())
      expect((await tokenBy(newClient, newClient.secret)).status).to.equal(401)
    })
    it('give a revoked client no token, and its former tokens stop working within a second', async () => {
      const other = await api.tenant(['read:keys'])
      expect(await works(other.token)).to.equal(true)
      await api.command(other.tenant, { type: 'RevokeClient', client_id: other.clientId })
      expect((await tokenBy(other, other.secret)).status).to.equal(401)
      await waitFor(async () => (await api.call('GET', '/v1/keys', { as: other })).status === 401, { within: 3_000 })
    })
  })

  it('returns 429 with Retry-After after too many wrong credentials from one address; credentials in use keep working', async () => {
    const strict = await startApi({ settings: { failedCredentialsPerMinute: 5 } })
    try {
      const client = await strict.tenant()
      const key = await strict.key(client)
      expect((await strict.call('GET', '/v1/webhooks', { as: key })).status).to.equal(200)
      const wrong = { ...grant, client_id: client.clientId, client_secret: 'wrong' }
      const statuses: number[] = []
      for (let i = 0; i < 7; i++) statuses.push((await strict.call('POST', '/v1/auth', { body: wrong })).status)
      expect(statuses).to.deep.equal([401, 401, 401, 401, 401, 429, 429])
      const right = await strict.call('POST', '/v1/auth', { body: { ...wrong, client_secret: client.secret } })
      expect(right.status, 'a right guess reveals nothing now').to.equal(429)
      expect(Number(right.headers.get('retry-after'))).to.be.within(1, 60)
      expect((await strict.call('GET', '/v1/webhooks', { as: { key: 'AAAABBBBCCCC' } })).status).to.equal(429)
      expect((await strict.call('GET', '/v1/webhooks', { as: { token: 'wrong' } })).status).to.equal(429)
      expect((await strict.call('GET', '/v1/webhooks', { as: client })).status).to.equal(200)
      expect((await strict.call('GET', '/v1/webhooks', { as: key })).status).to.equal(200)
    } finally {
      await strict.stop()
    }
  })
  it('counts wrong credentials by the address that a trusted proxy reports, and ignores what any other proxy reports', async () => {
    const wrong = { ...grant, client_id: 'nobody', client_secret: 'wrong' }
    const statusFrom = async (testApi: TestApi, address: string) =>
      (await testApi.call('POST', '/v1/auth', { body: wrong, headers: { 'x-forwarded-for': address } })).status
    const trusting = await startApi({ settings: { failedCredentialsPerMinute: 1, trustProxy: '1' } })
    try {
      expect(await statusFrom(trusting, '9.9.9.1')).to.equal(401)
      expect(await statusFrom(trusting, '9.9.9.1')).to.equal(429)
      expect(await statusFrom(trusting, '9.9.9.2')).to.equal(401)
      expect(await statusFrom(trusting, '2001:db8:1:2:3::1')).to.equal(401)
      expect(await statusFrom(trusting, '2001:db8:1:2:4::1'), 'one network').to.equal(429)
    } finally {
      await trusting.stop()
    }
    const doubting = await startApi({ settings: { failedCredentialsPerMinute: 1 } })
    try {
      expect(await statusFrom(doubting, '9.9.9.1')).to.equal(401)
      expect(await statusFrom(doubting, '9.9.9.2')).to.equal(429)
    } finally {
      await doubting.stop()
    }
  })
  it('issues tokens that contain only an id, client, generation, scopes and times', async () => {
    expect(Object.keys(jwt.decode(client.token) ?? {}).sort()).to.deep.equal(['aud', 'exp', 'gen', 'iat', 'iss', 'jti', 'scope', 'sub'])
  })
})
