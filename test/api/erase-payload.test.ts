import { expect } from 'chai'
import { ulid } from 'ulid'
import { erasureDecider } from '../../src/commands/erasure.ts'
import { handle } from '../../src/commands/handler.ts'
import { erasureId } from '../../src/events/erasure.ts'
import { placeOf, recordedRef } from '../../src/events/message-record.ts'
import type { MessageRef } from '../../src/events/refs.ts'
import { erasureStream } from '../../src/events/streams.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'
import { route } from '../support/routed.ts'
import { waitFor } from '../support/wait-for.ts'

const isUuid = /^[0-9a-f-]{36}$/

describe('DELETE /v1/events/:id/payload', () => {
  let api: TestApi
  let client: TestClient
  let webhook: string
  before(async () => {
    api = await startApi()
    client = await api.tenant()
    webhook = await api.webhook(client)
  })
  after(() => api.stop())
  const post = async () => {
    const id = ulid()
    await api.call('POST', '/v1/events', { as: client, body: { id, event: 'order.created', payload: { secret: id } } })
    const produced = api.produced.at(-1)!
    const [delivery] = await route(api, produced, [webhook])
    const ref = recordedRef(produced.record, produced.record.messages[0]!, produced.place)
    return { id, ref, delivery: delivery!, sealedBody: produced.record.messages[0]!.sealedBody }
  }
  const erase = (id: string, as = client, headers = {}) => api.call('DELETE', `/v1/events/${id}/payload`, { as, headers })
  const read = async (id: string) => JSON.parse((await api.call('GET', `/v1/events/${id}`, { as: client })).text).data
  const recordOf = async ({ place }: MessageRef): Promise<Buffer> => {
    const [, partition, offset] = place.split('/')
    const { rows } = await api.db.pool.query('select record from messages where partition = $1 and "offset" = $2', [partition, offset])
    return rows[0].record
  }
  const auditOf = async (ref: MessageRef) => {
    const stream = await api.call('GET', `/v1/audit?family=erasure&id=${erasureId(ref)}`, { as: client })
    return stream.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }

  it('removes the bytes, and says who asked, and where the content may still be', async () => {
    const { id, ref, sealedBody } = await post()
    expect((await recordOf(ref)).includes(sealedBody)).to.equal(true)
    const erased = await erase(id, client, { 'kolbak-reason': 'request 17 of a customer' })
    expect(erased.status, erased.text).to.equal(200)
    const { data } = erased.body as { data: Record<string, unknown> }
    expect(data.id).to.equal(id)
    for (const event of [data.asked_event_id, data.erased_event_id]) expect(event).to.match(isUuid)
    const expires_at = new Date(Date.parse(ref.accepted_at) + 30 * 86_400_000).toISOString()
    expect((data.remains as { where: string }[]).map(({ where }) => where)).to.deep.equal(['responses', 'repeats', 'receivers', 'backups'])
    expect(data.remains).to.deep.include({ where: 'responses', until: expires_at })
    expect((await recordOf(ref)).includes(sealedBody.subarray(60))).to.equal(false)
    expect(await read(id)).to.include({ payload: null, payload_reason: 'payload_erased', status: 'routed' })
    const lines = await auditOf(ref)
    expect(lines.map(({ type }) => type)).to.deep.equal(['PayloadErasureAsked', 'PayloadErased', undefined])
    expect(lines[0]).to.deep.include({ event_id: data.asked_event_id, actor: { kind: 'client', id: client.clientId, name: 'test' } })
    expect(lines[0].metadata).to.include({ reason: 'request 17 of a customer', operation: 'erasePayload' })
    expect(lines[1]).to.deep.include({ event_id: data.erased_event_id, actor: { kind: 'system', id: 'erasure-manager', name: null } })
  })
  it('may be repeated, with the same response, and nothing more is stored', async () => {
    const { id } = await post()
    const first = await erase(id)
    const before = await api.events()
    const second = await erase(id)
    const withoutTimes = ({ body }: typeof first) => JSON.stringify(body).replace(/"where":"repeats","until":"[^"]+"/, '')
    expect([second.status, withoutTimes(second)]).to.deep.equal([200, withoutTimes(first)])
    expect(await api.events()).to.equal(before)
  })
  it('keeps the payloads of other events in the same record', async () => {
    const [id, other] = [ulid(), ulid()]
    const events = [id, other].map((name) => ({ id: name, event: 'a', payload: { name } }))
    await api.call('POST', '/v1/events/batch', { as: client, body: { events } })
    const { record, place } = api.produced.at(-1)!
    const [bus, partition, offset] = place.split('/')
    for (const [index, message] of record.messages.entries())
      await route(api, { record: { ...record, messages: [message] }, place: placeOf(bus!, Number(partition), BigInt(offset!), index) }, [])
    expect((await erase(id)).status).to.equal(200)
    expect((await read(id)).payload).to.equal(null)
    expect(await read(other)).to.deep.include({ payload: { name: other }, payload_reason: null })
  })
  it('ends retries at once, and no replay brings the payload back', async () => {
    const { id, delivery } = await post()
    const { rows } = await api.db.pool.query('select * from message_index where message = $1', [id])
    const { tenant, message, fingerprint, place, event, accepted_at } = rows[0]
    await api.db.pool.query(
      `insert into scheduled_deliveries (tenant, message, place, fingerprint, event, accepted_at, webhook, delivery, correlation_id, chain, attempt, due_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, 'c', 1, 2, now() + interval '5 hours')`,
      [tenant, message, place, fingerprint, event, accepted_at, webhook, delivery.id],
    )
    await delivery.record({ type: 'DeliveryFailed', code: 500, delay_seconds: 18_000 })
    expect((await erase(id)).status).to.equal(200)
    const scheduled = await api.db.pool.query('select due_at <= now() as is_due from scheduled_deliveries where delivery = $1', [
      delivery.id,
    ])
    expect(scheduled.rows).to.deep.equal([{ is_due: true }])
    for (const path of [`/v1/events/${id}/replay`, `/v1/deliveries/${delivery.id}/replay`]) {
      const refused = await api.call('POST', path, { as: client })
      expect([refused.status, refused.get('error.code')], path).to.deep.equal([410, 'payload_erased'])
    }
    const request = await api.call('GET', `/v1/deliveries/${delivery.id}/request`, { as: client })
    expect(request.text).to.include('"body":null')
  })
  it('is completed without the request, as after a crash between the two events', async () => {
    const { id, ref, sealedBody } = await post()
    const caller = { tenant: client.tenant, actor: 'client:x', scopes: new Set<never>(), key_id: null } as const
    const context = { caller, correlation_id: 'c', now: new Date().toISOString(), create: true }
    await handle(api.deps.streams, erasureDecider, erasureStream(erasureId(ref)), { type: 'AskPayloadErasure', message: ref }, context)
    await waitFor(async () => (await auditOf(ref)).some(({ type }) => type === 'PayloadErased'))
    expect((await recordOf(ref)).includes(sealedBody.subarray(60))).to.equal(false)
    expect((await erase(id)).status).to.equal(200)
  })
  it('is carried out again after an older backup was put back', async () => {
    const { id, ref } = await post()
    const before = await recordOf(ref)
    await erase(id)
    const [, partition, offset] = ref.place.split('/')
    await api.db.pool.query('update messages set record = $3 where partition = $1 and "offset" = $2', [partition, offset, before])
    await api.db.pool.query(`update projections set checkpoint = null where name = 'erasure_manager'`)
    expect((await read(id)).payload).to.not.equal(null)
    await erase((await post()).id) // The manager notices its older checkpoint at its next batch.
    await waitFor(async () => (await read(id)).payload === null)
  })
  it('calls a payload that somebody else removed unreadable, because the audit log has no erasure of it', async () => {
    const { id, ref } = await post()
    await api.deps.bus.eraseBodies?.([ref])
    expect(await read(id)).to.include({ payload: null, payload_reason: 'payload_unreadable' })
  })
  it('returns 404 for an unknown event and for that of another tenant, and 403 without the scope write:events', async () => {
    const { id } = await post()
    expect((await erase('unknown')).status).to.equal(404)
    expect((await erase(id, await api.tenant())).status).to.equal(404)
    expect((await erase(id, await api.sibling(client, ['read:events']))).status).to.equal(403)
    expect((await read(id)).payload).to.deep.equal({ secret: id })
  })
})
