import { expect } from 'chai'
import type { Metadata } from '../../src/events/envelope.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

/*
 * Somebody with the password of the database changes what is stored. Each test alters the real Postgres, and expects that the service says so. The
 * numbers are those of the list in docs/audit.md.
 */
describe('what somebody changes in the database', () => {
  const { service, receiver, services } = withService({ sharedDatabase: true })
  let api: Client
  before(async () => {
    api = await clientOf(service.url)
  })
  const subscribe = () => api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'order.*' })
  const change = (id: string) =>
    api.call<{ error: { code: string; message: string } }>('PATCH', `/v1/webhooks/${id}`, { description: `${Math.random()}` })
  const sql = (text: string, values: unknown[] = []) => services.db.pool.query(text, values)
  const metadataOf = async (stream: string): Promise<Metadata> => {
    const { rows } = await sql('select metadata from command_events where stream = $1 order by revision desc limit 1', [stream])
    return JSON.parse(rows[0].metadata)
  }
  const quarantined = async (stream: string): Promise<{ projection: string; error: string }[]> =>
    (await sql('select projection, error from quarantined_streams where stream = $1 order by projection', [stream])).rows
  const append = (stream: string, expected: number, type: string, data: object, metadata: object) =>
    sql('select append_events($1, null, array[1], array[$2::int], array[1], array[1], array[0], array[gen_random_uuid()], $3, $4, $5)', [
      stream,
      expected,
      type,
      JSON.stringify(data),
      JSON.stringify(metadata),
    ])

  it('begins with LogStarted: from the first event on, every command event has a MAC', async () => {
    const { rows } = await sql(`select stream, type, metadata::jsonb ? 'mac' as has_mac from command_events order by position`)
    expect(rows[0]).to.deep.include({ stream: 'log-00000000000000000000000000', type: 'LogStarted' })
    expect(rows.filter((row) => !row.has_mac)).to.deep.equal([])
    const { id } = await subscribe()
    const { commits, mac, app } = await metadataOf(`webhook-${id}`)
    expect(Object.keys(commits ?? {})).to.deep.equal(['callback_url', 'origin'])
    expect(mac).to.match(/^[\w-]{43}$/)
    expect(app).to.match(/^\d+\.\d+\.\d+/)
  })
  it('a forged deactivation in the name of a customer is never applied (attack 5)', async () => {
    const { id } = await subscribe()
    const stream = `webhook-${id}`
    const metadata = { ...(await metadataOf(stream)), actor: 'client:the-customer-himself' }
    await append(stream, 0, 'WebhookDeactivated', { id, reason: 'requested' }, metadata)
    const rows = await waitFor(async () => {
      const found = await quarantined(stream)
      return ['webhooks', 'webhook_versions'].every((name) => found.some(({ projection }) => projection === name)) ? found : null
    })
    for (const { error } of rows)
      expect(error).to.equal(`event_forged: ${stream}@1 has a MAC that does not fit: it is not what Kolbak has written`)
    expect(await api.get<WebhookResponse>(`/v1/webhooks/${id}`)).to.include({ is_active: true })
    const refused = await change(id)
    expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    expect(refused.body.error.message).to.include(`${stream}@1 is altered`)
  })
  it('an event without a MAC is never applied either', async () => {
    const { id } = await subscribe()
    const stream = `webhook-${id}`
    const { mac: _, ...metadata } = await metadataOf(stream)
    await append(stream, 0, 'WebhookDeleted', { id }, metadata)
    await waitFor(async () => (await quarantined(stream)).some(({ projection }) => projection === 'webhooks'))
    expect((await quarantined(stream))[0]?.error).to.equal(`event_forged: ${stream}@1 has no MAC: Kolbak has not written it`)
    expect(await api.get<WebhookResponse>(`/v1/webhooks/${id}`)).to.include({ id })
  })
  it('a cut end of a stream is found by the next command on it (attack 3)', async () => {
    const { id } = await subscribe()
    expect((await change(id)).status).to.equal(200)
    await waitFor(async () => (await sql('select from audit_events where stream = $1', [`webhook-${id}`])).rowCount === 2)
    await sql('delete from command_events where stream = $1 and revision = 1', [`webhook-${id}`])
    const refused = await change(id)
    expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    expect(refused.body.error.message).to.include(`webhook-${id}@1 is missing`)
  })
  it('a deleted stream is found in the same way (attack 4)', async () => {
    const { id } = await subscribe()
    await waitFor(async () => (await sql('select from audit_events where stream = $1', [`webhook-${id}`])).rowCount === 1)
    await sql('delete from command_events where stream = $1', [`webhook-${id}`])
    expect((await change(id)).body.error.message).to.include(`webhook-${id}@0 is missing`)
  })
  for (const [title, alteration] of [
    ['data (attack 1)', `data = replace(data, 'order.*', '*')`],
    ['author (attack 2)', `metadata = replace(metadata, 'client:admin', 'client:other')`],
    ['id (attack 18)', 'id = gen_random_uuid()'],
    ['stream (attack 8)', `stream = regexp_replace(stream, '.$', 'Z')`],
  ] as const)
    it(`an event with another ${title} is refused by the next command on it`, async () => {
      const { id } = await subscribe()
      await sql(`update command_events set ${alteration} where stream = $1`, [`webhook-${id}`])
      const refused = await change(title.startsWith('stream') ? id.replace(/.$/, 'Z') : id)
      expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    })
})
