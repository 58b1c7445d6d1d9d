import { expect } from 'chai'
import { bodyAad } from '../../src/events/sealed-fields.ts'
import { BusUnavailable } from '../../src/ports/message-bus.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('POST /v1/events/batch', () => {
  let api: TestApi
  let producer: TestClient
  before(async () => {
    api = await startApi()
    producer = await api.tenant()
  })
  after(() => api.stop())
  const post = (body: unknown) => api.call('POST', '/v1/events/batch', { as: producer, body })
  const postRaw = (raw: string | Buffer) => api.call('POST', '/v1/events/batch', { as: producer, raw })
  const last = () => {
    const produced = api.produced.at(-1)
    if (produced === undefined) throw new Error('nothing was produced')
    return produced.record
  }
  const openedBodies = async (): Promise<string[]> => {
    const { tenant, messages } = last()
    const vault = await api.deps.keyring.vault(tenant)
    return messages.map((message) => vault.open(bodyAad(tenant, message.id), message.sealedBody).toString())
  }
  const eventsOf = (n: number) => Array.from({ length: n }, (_, i) => ({ event: `e.${i}`, payload: { i } }))

  it('returns 202 with the ids in the order sent, and stores all messages as one record', async () => {
    const before = api.produced.length
    const response = await post({
      events: [
        { id: 'first', event: 'order.created', payload: { n: 1 } },
        { event: 'order.paid', event_time: '2025-03-31T00:42:50Z', source: 's', payload: { n: 2 } },
        { id: 'third', event: 'order.sent', payload: {} },
      ],
    })
    expect(response.status).to.equal(202)
    expect(api.produced.length).to.equal(before + 1)
    const ids = last().messages.map((message) => message.id)
    expect(response.body).to.deep.equal({
      data: ids.map((id) => ({ id, message: 'Event accepted for processing.' })),
      error: null,
      pagination: null,
    })
    expect([ids[0], ids[2]]).to.deep.equal(['first', 'third'])
    expect(ids[1]).to.match(/^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
    expect(last().messages[1]).to.include({ event: 'order.paid', event_time: '2025-03-31T00:42:50Z', source: 's' })
    expect(last().correlation_id).to.equal(response.headers.get('x-request-id'))
  })
  it('returns 202, and receivers get each payload as it was sent', async () => {
    const payloads = [
      '{ "b" : 1.10,"a":12345678901234567890, "]":"},{\\"" }',
      '{"events":[{"payload":[1]}],"\\ud800":"\\u0000"}',
      '{"e":1E400 ,"c":[ [] , {} ] , "10":1, "9":2}',
    ]
    const events = payloads.map((payload, i) => ` {"payload":${payload} ,"event":"e","id":"as-sent-${i}"}\n`)
    const raw = `{ "events" : [1] , "e\\u0076ents":[${events.join(',')}] }`
    expect((await postRaw(raw)).status).to.equal(202)
    expect(await openedBodies()).to.deep.equal(
      payloads.map((payload, i) => `{"id":"as-sent-${i}","event":"e","event_time":null,"source":null,"payload":${payload}}`),
    )
  })
  it('returns 202 and gives a message the same fingerprint as when it is posted alone', async () => {
    const event = { id: 'either-way', event: 'a', source: 's', payload: { a: 1 } }
    await post({ events: [event] })
    const [inBatch] = last().messages
    await api.call('POST', '/v1/events', { as: producer, body: event })
    expect(last().messages[0]?.fingerprint).to.equal(inBatch?.fingerprint)
  })
  it('returns 422 with each payload of more than 128 levels', async () => {
    const nested = (levels: number) => `{"deep":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`
    const raw = `{"events":[${[128, 129, 1, 5_000].map((levels) => `{"event":"a","payload":${nested(levels)}}`).join(',')}]}`.replace(
      '{"deep":}',
      '{}',
    )
    const refused = await postRaw(raw)
    expect(refused.status).to.equal(422)
    const details: { path: string }[] = JSON.parse(refused.text).error.details
    expect(details.map(({ path }) => path)).to.deep.equal(['events.1.payload', 'events.3.payload'])
  })
  it('returns 202 for 1,000 events, and for 1 MiB', async () => {
    expect((await post({ events: eventsOf(1_000) })).status).to.equal(202)
    expect(new Set(last().messages.map((message) => message.id)).size).to.equal(1_000)
    const head = '{"events":[{"event":"a","payload":{"x":"'
    const fullBody = `${head}${'x'.repeat(1024 * 1024 - head.length - 5)}"}}]}`
    expect((await postRaw(fullBody)).status).to.equal(202)
    expect((await postRaw(`${fullBody} `)).status).to.equal(413)
  })
  it('returns 413 record_too_large when ids and names alone fill the body', async () => {
    const source = '\u0001'.repeat(255)
    const events = Array.from({ length: 495 }, (_, i) => ({ id: `${i}`.padStart(255, 'x'), event: 'e'.repeat(255), source, payload: {} }))
    const before = api.produced.length
    const refused = await post({ events })
    expect([refused.status, refused.get('error.code')]).to.deep.equal([413, 'record_too_large'])
    expect(api.produced.length).to.equal(before)
  })
  it('returns 400 for a body that is not JSON, and stores nothing', async () => {
    const before = api.produced.length
    expect((await postRaw('{"events":[')).get('error.code')).to.equal('invalid_json')
    expect(api.produced.length).to.equal(before)
  })
  describe('returns 422 with every faulty field, and stores nothing, for', () => {
    const validEvent = { event: 'a', payload: {} }
    for (const [title, body, paths] of [
      ['a body without events', {}, ['events']],
      ['an empty list', { events: [] }, ['events']],
      ['more than 1,000', { events: eventsOf(1_001) }, ['events']],
      ['events that are not a list', { events: validEvent }, ['events']],
      ['an event alone', validEvent, ['event', 'events', 'payload']],
      ['an element that is not an object', { events: [validEvent, null, 7] }, ['events.1', 'events.2']],
      [
        'faults of several elements',
        { events: [validEvent, { payload: 1 }, validEvent, { event: '*', payload: {}, x: 1 }] },
        ['events.1.event', 'events.1.payload', 'events.3.event', 'events.3.x'],
      ],
      [
        'an id that occurs twice',
        {
          events: [
            { ...validEvent, id: 'a' },
            { ...validEvent, id: 'b' },
            { ...validEvent, id: 'a' },
          ],
        },
        ['events.2.id'],
      ],
      ['a reserved name', { events: [{ event: 'kolbak.test', payload: {} }] }, ['events.0.event']],
    ] as const)
      it(title, async () => {
        const before = api.produced.length
        const refused = await post(body)
        expect(refused.status, refused.text).to.equal(422)
        const details: { path: string }[] = JSON.parse(refused.text).error.details
        expect([...new Set(details.map((detail) => detail.path))].sort()).to.deep.equal(paths)
        expect(api.produced.length).to.equal(before)
      })
  })
  it('returns 503 when the bus cannot be reached, and accepts nothing of the batch', async () => {
    const broken = await startApi({
      replace: () => ({
        bus: {
          produce: async () => {
            throw new BusUnavailable('connect ECONNREFUSED 10.0.0.1:5432')
          },
        },
      }),
    })
    try {
      const refused = await broken.call('POST', '/v1/events/batch', { as: await broken.tenant(), body: { events: eventsOf(2) } })
      expect([refused.status, refused.get('error.code')]).to.deep.equal([503, 'bus_unavailable'])
    } finally {
      await broken.stop()
    }
  })
})
