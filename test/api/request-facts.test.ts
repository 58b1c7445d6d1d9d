import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import { originAad } from '../../src/commands/command-streams.ts'
import type { Metadata } from '../../src/events/envelope.ts'
import { isUlid, type WebhookId } from '../../src/events/ids.ts'
import { webhookStream } from '../../src/events/streams.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('the facts about a request', () => {
  let api: TestApi
  let client: TestClient
  let webhook: string
  before(async () => {
    api = await startApi({ settings: { trustProxy: '1' } })
    client = await api.tenant()
    webhook = await api.webhook(client)
  })
  after(() => api.stop())

  const change = (headers: Record<string, string>, as: { token: string } | { key: string } = client) =>
    api.call('PATCH', `/v1/webhooks/${webhook}`, { as: as as TestClient, body: { description: `${Math.random()}` }, headers })
  const lastMetadata = async (id = webhook): Promise<Metadata> => {
    const { rows } = await api.db.pool.query<{ metadata: string }>(
      'select metadata from command_events where stream = $1 order by revision desc limit 1',
      [webhookStream(id as WebhookId)],
    )
    return JSON.parse(rows[0]!.metadata) as Metadata
  }

  it('include an id of our own beside the id of the caller, which the response shows', async () => {
    const first = await change({ 'x-request-id': 'mine' })
    const id = first.headers.get('kolbak-request-id') ?? ''
    expect(isUlid(id)).to.equal(true)
    expect(await lastMetadata()).to.include({ request_id: id, $correlationId: 'mine', operation: 'changeWebhook' })
    const second = await change({ 'x-request-id': 'mine' })
    expect(second.headers.get('kolbak-request-id')).to.not.equal(id)
    const without = await change({})
    expect(without.headers.get('x-request-id')).to.equal(without.headers.get('kolbak-request-id'))
  })
  it('include the token and the generation of the client, or that an API key was used', async () => {
    await change({})
    const { jti } = jwt.decode(client.token) as jwt.JwtPayload
    expect((await lastMetadata()).auth).to.deep.equal({ credential: 'token', generation: 1, token: jti })
    const key = await api.key(client)
    const ownWebhook = await api.webhook(key)
    expect((await lastMetadata(ownWebhook)).auth).to.deep.equal({ credential: 'api_key', generation: null, token: null })
  })
  it('include the sealed address and agent of the caller', async () => {
    await change({ 'user-agent': 'auditor/1.0', 'x-forwarded-for': '203.0.113.7' })
    const { origin = '' } = await lastMetadata()
    expect(origin).to.not.include('203.0.113.7')
    const vault = await api.deps.keyring.vault(client.tenant)
    expect(JSON.parse(vault.openText(originAad(client.tenant, webhookStream(webhook as WebhookId)), origin))).to.deep.equal({
      address: '203.0.113.7',
      agent: 'auditor/1.0',
    })
  })
  it("include the caller's reason, and 422 for a reason that is too long or has other characters", async () => {
    await change({ 'kolbak-reason': 'Ticket 4711: the receiver moved' })
    expect((await lastMetadata()).reason).to.equal('Ticket 4711: the receiver moved')
    await change({})
    expect(await lastMetadata()).to.not.have.property('reason')
    for (const reason of ['x'.repeat(256), 'caf\xe9', 'a\tb', '']) {
      const refused = await change({ 'kolbak-reason': reason })
      expect(refused.status, JSON.stringify(reason)).to.equal(422)
      expect(refused.text).to.include('Kolbak-Reason')
    }
  })
})
