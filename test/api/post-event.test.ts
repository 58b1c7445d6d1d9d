import { expect } from 'chai'
import { decodeRecord, encodeRecord, parsePlace } from '../../src/events/message-record.ts'
import { openBody } from '../../src/events/sealed-body.ts'
import { bodyAad } from '../../src/events/sealed-fields.ts'
import { BusFull, BusUnavailable } from '../../src/ports/message-bus.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('POST /v1/events', () => {
  let api: TestApi
  let producer: TestClient
  before(async () => {
    api = await startApi()
    producer = await api.tenant()
  })
  after(() => api.stop())
  const post = (body: unknown) => api.call('POST', '/v1/events', { as: producer, body })
  const postRaw = (raw: string | Buffer) => api.call('POST', '/v1/events', { as: producer, raw })
  const last = () => {
    const produced = api.produced.at(-1)
    const message = produced?.record.messages[0]
    if (produced === undefined || message === undefined) throw new Error('nothing was produced')
    return { ...produced, message }
  }
  /** Returns the body that a receiver would get for the latest message. */
  const openedBody = async (): Promise<string> => {
    const { record, message } = last()
    const vault = await api.deps.keyring.vault(record.tenant)
    return vault.open(bodyAad(record.tenant, message.id), message.sealedBody).toString()
  }

  it('returns 202 with the id after the message is stored', async () => {
    const body = {
      id: 'evt_producer_unique_id_12345',
      event: 'order.created',
      event_time: '2025-03-31T00:42:50Z',
      source: 'order-service',
      payload: {},
    }
    const accepted = await post(body)
    expect(accepted.status).to.equal(202)
    expect(accepted.body).to.deep.equal({
      data: { id: 'evt_producer_unique_id_12345', message: 'Event accepted for processing.' },
      error: null,
      pagination: null,
    })
    const { record, message, place } = last()
    expect(record.tenant).to.equal(producer.tenant)
    expect(record.accepted_at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(record.correlation_id).to.equal(accepted.headers.get('x-request-id'))
    expect(message).to.include({ id: body.id, event: body.event, event_time: body.event_time, source: body.source })
    const { partition, offset } = parsePlace(place)
    const { rows } = await api.db.pool.query('select from messages where partition = $1 and "offset" = $2', [partition, offset])
    expect(rows.length).to.equal(1)
  })
  it('returns 202 for texts of the maximum length, which the bus accepts too', async () => {
    const body = {
      id: 'i'.repeat(255),
      event: 'e'.repeat(255),
      event_time: `2025-03-31T00:42:50.${'0'.repeat(64 - 21)}Z`,
      source: '𝄞'.repeat(255),
      payload: {},
    }
    const sent = await api.call('POST', '/v1/events', { as: producer, body, headers: { 'x-request-id': 'r'.repeat(128) } })
    expect(sent.status).to.equal(202)
    const { record } = last()
    expect(record.correlation_id).to.equal('r'.repeat(128))
    expect(decodeRecord(encodeRecord(record))).to.deep.equal(record)
    expect(await post({ ...body, event_time: `2025-03-31T00:42:50.${'0'.repeat(64 - 20)}Z` })).to.include({ status: 422 })
  })
  it('returns 202 with a new id when there is none: evt_ and a ULID', async () => {
    const accepted = await post({ event: 'a', payload: {} })
    expect(accepted.get('data.id')).to.match(/^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
    expect(last().message.id).to.equal(accepted.get('data.id'))
  })
  it('returns 202, and receivers get the payload as it was sent', async () => {
    const payload = '{ "b" : 1.10,"a":12345678901234567890, "\\u00fc":"\\ud800\\u0000", "e":1E400 ,"c":[ ] , "10":1, "9":2}'
    await postRaw(`{"payload":${payload} ,"event":"order.created","id":"as-sent","source":"s"}`)
    expect(await openedBody()).to.equal(`{"id":"as-sent","event":"order.created","event_time":null,"source":"s","payload":${payload}}`)
    const { record, message } = last()
    const noVault = { seal: expect.fail, open: () => expect.fail('it was opened') }
    expect(
      openBody(noVault, record.tenant, message.id, message.sealedBody).toString(),
      'the body that the process has in memory, without opening the sealed one',
    ).to.equal(await openedBody())
  })
  it('returns 202 and uses the last of two payloads, as JSON.parse does', async () => {
    await postRaw('{"event":"a","payload":{"n":1},"p\\u0061yload":{"n":2},"id":"twice"}')
    expect(await openedBody()).to.contain('"payload":{"n":2}}')
  })
  it('returns 202 for a payload of 128 levels, and 422 for a deeper one, because the parsers of many receivers would refuse it', async () => {
    const nested = (levels: number, [open, close] = ['[', ']']) => `{"deep":${open!.repeat(levels - 1)}${close!.repeat(levels - 1)}}`
    for (const [levels, status] of [
      [128, 202],
      [129, 422],
      [5_000, 422],
      [100_000, 422],
    ] as const) {
      const reply = await postRaw(`{"event":"a","payload":${nested(levels)}}`)
      expect(reply.status, `${levels} levels`).to.equal(status)
      if (status === 202) continue
      expect(reply.get('error.details.0.path')).to.equal('payload')
      expect(reply.get('error.details.0.message')).to.contain('128 levels')
    }
    const inObjects = `${'{"a":'.repeat(129)}1${'}'.repeat(129)}`
    expect((await postRaw(`{"event":"a","payload":${inObjects}}`)).status).to.equal(422)
    const wide = JSON.stringify(Array.from({ length: 1_000 }, () => ({ a: ['[[[[', '{{{{'] })))
    expect((await postRaw(`{"event":"a","payload":{"wide":${wide}}}`)).status).to.equal(202)
  })
  it('returns 202 for a body of 256 KiB', async () => {
    const head = '{"event":"a","payload":{"x":"'
    const fullBody = `${head}${'x'.repeat(256 * 1024 - head.length - 3)}"}}`
    expect(fullBody.length).to.equal(256 * 1024)
    expect((await postRaw(fullBody)).status).to.equal(202)
    expect((await postRaw(`${fullBody} `)).status).to.equal(413)
  })
  it('returns 202 and treats a missing event_time or source like null', async () => {
    await post({ id: 'n1', event: 'a', event_time: null, source: null, payload: {} })
    const withNull = last().message
    await post({ id: 'n1', event: 'a', payload: {} })
    expect(withNull.event_time).to.equal(null)
    expect(last().message.fingerprint).to.equal(withNull.fingerprint)
  })
  it('returns 202 and keeps event_time as it was written', async () => {
    await post({ event: 'a', event_time: '2025-03-31t02:42:50.1+02:00', payload: {} })
    expect(last().message.event_time).to.equal('2025-03-31t02:42:50.1+02:00')
  })
  it('returns 202 and gives the same fingerprint to the same content only', async () => {
    const titlesByFingerprint = new Map<string, string>()
    const base = { id: 'same', event: 'a', source: 's', event_time: '2025-03-31T00:42:50Z' }
    const fingerprintOf = async (change: object, payload = '{"a":1}') => {
      await postRaw(`${JSON.stringify({ ...base, ...change }).slice(0, -1)},"payload":${payload}}`)
      return last().message.fingerprint
    }
    expect(await fingerprintOf({})).to.equal(await fingerprintOf({}))
    for (const [title, change, payload] of [
      ['base', {}, undefined],
      ['event', { event: 'b' }, undefined],
      ['source', { source: 't' }, undefined],
      ['time', { event_time: '2025-03-31T00:42:51Z' }, undefined],
      ['payload', {}, '{"a":2}'],
      ['white space', {}, '{"a":1 }'],
    ] as const)
      titlesByFingerprint.set(await fingerprintOf(change, payload), title)
    expect(titlesByFingerprint.size).to.equal(6)
    const other = await api.tenant()
    await api.call('POST', '/v1/events', { as: other, body: { ...base, payload: { a: 1 } } })
    expect(titlesByFingerprint.has(last().message.fingerprint), 'another tenant').to.equal(false)
  })
  it('returns 202 and stores no content readably', async () => {
    await post({ event: 'a', payload: { marker: 'find-me-if-you-can' } })
    const { rows } = await api.db.pool.query<{ record: Buffer }>('select record from messages')
    expect(rows.length).to.be.greaterThan(3)
    expect(rows.filter((row) => row.record.includes('find-me-if-you-can'))).to.deep.equal([])
  })
  it('returns 202 for 200 concurrent events, and stores each once', async () => {
    const before = api.produced.length
    const responses = await Promise.all(Array.from({ length: 200 }, (_, i) => post({ id: `at-once-${i}`, event: 'a', payload: { i } })))
    expect(responses.every((response) => response.status === 202)).to.equal(true)
    const places = api.produced.slice(before).map((produced) => produced.place)
    expect(new Set(places).size).to.equal(200)
  })

  describe('returns 400 and stores nothing for', () => {
    for (const [title, raw] of [
      ['an empty body', ''],
      ['half an object', '{"event":"a","payload":{'],
      ['two objects', '{"event":"a","payload":{}}{}'],
      ['a comment', '{"event":"a",/**/"payload":{}}'],
      ['NaN', '{"event":"a","payload":{"a":NaN}}'],
      ['a byte order mark', '\ufeff{"event":"a","payload":{}}'],
      ['invalid UTF-8', Buffer.concat([Buffer.from('{"event":"a","payload":{"a":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}}')])],
      [
        'an encoded surrogate',
        Buffer.concat([Buffer.from('{"event":"a","payload":{"a":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}}')]),
      ],
      ['UTF-16', Buffer.from('{"event":"a","payload":{}}', 'utf16le')],
    ] as const)
      it(title, async () => {
        const before = api.produced.length
        const refused = await postRaw(raw)
        expect(refused.status).to.equal(400)
        expect(refused.get('error.code')).to.equal('invalid_json')
        if (title === 'a byte order mark') expect(refused.get('error.message')).to.contain('byte order mark')
        expect(api.produced.length).to.equal(before)
      })
  })
  describe('returns 422 with every faulty field, and stores nothing, for', () => {
    const validEvent = { event: 'a', payload: {} }
    for (const [title, body, paths] of [
      ['an object without fields', {}, ['event', 'payload']],
      ['an array', [], ['']],
      ['a string', 'x', ['']],
      ['null', null, ['']],
      ['wrong types', { id: 1, event: 2, event_time: 3, source: 4, payload: 5 }, ['event', 'event_time', 'id', 'payload', 'source']],
      ['half of a surrogate pair in its source', { ...validEvent, source: 'a\ud800' }, ['source']],
      ['a payload that is an array', { ...validEvent, payload: [] }, ['payload']],
      ['a payload that is null', { ...validEvent, payload: null }, ['payload']],
      ['an id that is null', { ...validEvent, id: null }, ['id']],
      ['an empty id', { ...validEvent, id: '' }, ['id']],
      ['an id with a dot', { ...validEvent, id: 'a.b' }, ['id']],
      ['an id beyond ASCII', { ...validEvent, id: 'ü' }, ['id']],
      ['an id with a line end', { ...validEvent, id: 'a\n' }, ['id']],
      ['an id of 256', { ...validEvent, id: 'x'.repeat(256) }, ['id']],
      ['a wildcard', { ...validEvent, event: 'order.*' }, ['event']],
      ['a reserved name', { ...validEvent, event: 'kolbak.test' }, ['event']],
      ['an event of 256', { ...validEvent, event: 'x'.repeat(256) }, ['event']],
      ['a source of 256', { ...validEvent, source: 'x'.repeat(256) }, ['source']],
      ['a time without an offset', { ...validEvent, event_time: '2025-03-31T00:42:50' }, ['event_time']],
      ['a day that does not exist', { ...validEvent, event_time: '2025-02-30T00:00:00Z' }, ['event_time']],
      ['unknown fields', { ...validEvent, type: 'x', tenant: 'y' }, ['tenant', 'type']],
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
  it('returns 401 to an API key, because keys cannot send', async () => {
    const { key } = await api.key(producer)
    expect((await api.call('POST', '/v1/events', { as: { key }, body: { event: 'a', payload: {} } })).status).to.equal(401)
  })
  for (const [error, code] of [
    [new BusFull('100000 records wait in 10.0.0.1'), 'bus_full'],
    [new BusUnavailable('connect ECONNREFUSED 10.0.0.1:5432'), 'bus_unavailable'],
  ] as const)
    it(`returns 503 ${code} with Retry-After, without naming the engine`, async () => {
      const broken = await startApi({
        replace: () => ({
          bus: {
            produce: async () => {
              throw error
            },
          },
        }),
      })
      try {
        const refused = await broken.call('POST', '/v1/events', { as: await broken.tenant(), body: { event: 'a', payload: {} } })
        expect(refused.status).to.equal(503)
        expect(refused.get('error.code')).to.equal(code)
        expect(refused.headers.get('retry-after')).to.equal('1')
        expect(refused.text).to.not.contain('10.0.0.1')
      } finally {
        await broken.stop()
      }
    })
  it('returns 500 without any detail, and logs the error with the request id', async () => {
    const broken = await startApi({
      replace: () => ({
        bus: {
          produce: async () => {
            throw new Error('a secret of our own')
          },
        },
      }),
    })
    try {
      const refused = await broken.call('POST', '/v1/events', {
        as: await broken.tenant(),
        body: { event: 'a', payload: {} },
        headers: { 'x-request-id': 'find-this-request' },
      })
      expect(refused.status).to.equal(500)
      expect(refused.get('error.code')).to.equal('internal_error')
      expect(refused.text).to.not.contain('secret')
      const lines = broken.log.lines.filter((line) => line.includes('find-this-request'))
      expect(lines.some((line) => line.includes('a secret of our own') && line.includes('"level":"error"'))).to.equal(true)
    } finally {
      await broken.stop()
    }
  })
})
