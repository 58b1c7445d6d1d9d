import { expect } from 'chai'
import fc from 'fast-check'
import { readCursor, readWebhookCursor, writeCursor, writeWebhookCursor } from '../../src/api/cursors.ts'
import { parseIfMatch } from '../../src/api/etag.ts'
import { fingerprintParts, messageBody, readMessageBody } from '../../src/api/message-body.ts'
import { createQueryReader } from '../../src/api/query-string.ts'
import type { DeliveryId, MessageId, WebhookId } from '../../src/events/ids.ts'

describe('If-Match', () => {
  it('accepts a list of revisions in quotes, or *', () => {
    expect(parseIfMatch(undefined)).to.equal(undefined)
    expect(parseIfMatch('*')).to.equal('*')
    expect(parseIfMatch('"3"')).to.deep.equal([3])
    expect(parseIfMatch('"3", "12" ,"0"')).to.deep.equal([3, 12, 0])
  })
  it('matches nothing for weak tags and for tags of another form', () => {
    expect(parseIfMatch('W/"3"')).to.deep.equal([])
    expect(parseIfMatch('"abc", "4"')).to.deep.equal([4])
    expect(parseIfMatch('"-1"')).to.deep.equal([])
  })
  for (const header of ['3', '', '"3', '"3" "4"', '"3",'])
    it(`refuses ${JSON.stringify(header)}`, () => {
      expect(() => parseIfMatch(header))
        .to.throw()
        .with.property('code', 'invalid_request')
    })
})

describe('a query string', () => {
  const read = createQueryReader({
    properties: { ids: { type: 'array' }, limit: { type: 'integer' }, is_active: { type: 'boolean' }, status: { type: 'string' } },
  })
  const values = (query: string) => read(new URLSearchParams(query)).values
  it('accepts lists that are repeated, in brackets, with commas, or mixed', () => {
    expect(values('ids=a&ids=b')).to.deep.equal({ ids: ['a', 'b'] })
    expect(values('ids[]=a&ids[]=b')).to.deep.equal({ ids: ['a', 'b'] })
    expect(values('ids=a,b')).to.deep.equal({ ids: ['a', 'b'] })
    expect(values('ids=a,b&ids[]=c&ids=d')).to.deep.equal({ ids: ['a', 'b', 'd', 'c'] })
  })
  it('converts values to the types of the schema, and keeps other texts for the schema to refuse', () => {
    expect(values('limit=20&is_active=false')).to.deep.equal({ limit: 20, is_active: false })
    expect(values('limit=2e1&is_active=1&limit[]=3')).to.deep.equal({ limit: '2e1', is_active: '1', 'limit[]': '3' })
    expect(values('limit=&x=1')).to.deep.equal({ limit: '', x: '1' })
  })
  it('reads the space before the offset of a time as the plus that it was', () => {
    const times = createQueryReader({ properties: { since: { type: 'string', format: 'date-time' }, name: { type: 'string' } } })
    const since = (text: string) => times(new URLSearchParams(`since=${text}&name=a+02:00`)).values
    for (const text of ['2026-03-31T00:42:50+02:00', '2026-03-31T00:42:50%2B02:00', '2026-03-31T00:42:50%2002:00'])
      expect(since(text)).to.deep.equal({ since: '2026-03-31T00:42:50+02:00', name: 'a 02:00' })
    for (const text of ['2026-03-31T00:42:50-02:00', '2026-03-31T00:42:50Z'])
      expect(since(text)).to.deep.equal({ since: text, name: 'a 02:00' })
    for (const text of ['2026-03-31 00:42:50', '2026-03-31T00:42:50 2:00', ' 02:00x']) expect(since(text)).to.include({ since: text })
  })
  it('names a parameter that is given twice', () => {
    expect(read(new URLSearchParams('limit=1&limit=2')).details).to.deep.equal([{ path: 'limit', message: 'is given more than once' }])
  })
  it('changes no prototype of JavaScript', () => {
    expect(Object.keys(values('__proto__=1&constructor=2'))).to.deep.equal(['__proto__', 'constructor'])
  })
})

describe('cursors', () => {
  const at = '2026-01-01T00:00:00.123Z'
  const delivery = '0195d3a1-7a4b-5c6d-8e9f-001122334455' as DeliveryId
  const webhook = '01ARZ3NDEKTSV4RRFFQ69G5FAW' as WebhookId
  it('are read as they were written', () => {
    expect(readCursor(writeCursor({ at, delivery }))).to.deep.equal({ at, delivery })
    expect(readWebhookCursor(writeWebhookCursor(webhook))).to.equal(webhook)
    expect(writeCursor({ at, delivery })).to.match(/^[A-Za-z0-9_-]+$/)
  })
  it('are refused when the service did not write them', () => {
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const strange = [
      '',
      'abc',
      encode(null),
      encode({}),
      encode([]),
      encode([at]),
      encode([at, delivery, 'x']),
      encode([at, 'x']),
      encode(['2026', delivery]),
      encode([1, 2]),
      encode(['2026-01-01T00:00:00Z', delivery]),
    ]
    for (const cursor of strange)
      expect(() => readCursor(cursor), cursor)
        .to.throw()
        .with.property('code', 'invalid_cursor')
    expect(() => readWebhookCursor(encode(['x'])))
      .to.throw()
      .with.property('code', 'invalid_cursor')
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(() => readCursor(text))
          .to.throw()
          .with.property('code', 'invalid_cursor')
      }),
    )
  })
})

describe('the body of a message', () => {
  const text = fc.string({ unit: 'binary', maxLength: 20 })
  const content = fc.record({ event: text, source: fc.option(text), event_time: fc.option(text) })
  const payload = fc.dictionary(text, fc.jsonValue(), { maxKeys: 4 }).map((value) => Buffer.from(JSON.stringify(value)))
  const id = 'evt_1' as MessageId

  it('is JSON of five fields, which can be read back', () => {
    fc.assert(
      fc.property(content, payload, (fields, bytes) => {
        const body = messageBody({ id, ...fields }, bytes)
        expect(Object.keys(JSON.parse(body.toString()))).to.deep.equal(['id', 'event', 'event_time', 'source', 'payload'])
        const { event_time, source } = fields
        expect(readMessageBody(body)).to.deep.equal({ event_time, source, payload: bytes.toString() })
      }),
    )
  })
  it('has another fingerprint if any of its content differs', () => {
    const print = (fields: { event: string; source: string | null; event_time: string | null }, bytes: Buffer) =>
      Buffer.concat(fingerprintParts(fields, bytes).map((part) => Buffer.from(part))).toString('hex')
    fc.assert(
      fc.property(content, payload, content, payload, (a, pa, b, pb) => {
        const isSameContent = a.event === b.event && a.source === b.source && a.event_time === b.event_time && pa.equals(pb)
        expect(print(a, pa) === print(b, pb)).to.equal(isSameContent)
      }),
    )
    const base = { event: 'a', source: null, event_time: null }
    expect(print({ ...base, source: '\ud800' }, Buffer.from('{}'))).to.not.equal(print({ ...base, source: '\ufffd' }, Buffer.from('{}')))
    expect(print({ ...base, source: 'x' }, Buffer.from('{}'))).to.not.equal(print({ ...base, event_time: 'x' }, Buffer.from('{}')))
  })
})
