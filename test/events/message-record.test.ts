import { expect } from 'chai'
import fc from 'fast-check'
import { decodeRecord, rememberRecord } from '../../src/events/message-record.ts'
import { validRecord, withField, withMessageValue } from '../faults/poison-records.ts'

describe('a record of the bus', () => {
  it('is read as it was written, or is refused if its bytes are invalid', () => {
    const junk = fc.oneof(fc.jsonValue(), fc.constantFrom(null, -1, 1.5, 1e9, '', '\0', '\ud800', 'a\r\nb', [], {}))
    const check = (bytes: Buffer) => {
      let record: ReturnType<typeof decodeRecord>
      try {
        record = decodeRecord(bytes)
      } catch (error) {
        expect(error).to.be.instanceOf(Error)
        return
      }
      expect(record.tenant).to.match(/^[0-9A-Z]{26}$/)
      expect(new Date(record.accepted_at).toISOString()).to.equal(record.accepted_at)
      expect(record.correlation_id).to.match(/^[!-~]{1,255}$/)
      expect(record.messages).to.not.be.empty
      for (const { id, event, event_time, source, fingerprint, sealedBody } of record.messages) {
        for (const text of [id, event, fingerprint]) expect(text).to.match(/^[!-~]{1,255}$/)
        for (const text of [event_time, source]) if (text !== null) expect(text).to.be.a('string')
        expect(sealedBody).to.be.instanceOf(Buffer)
      }
    }
    const field = fc.constantFrom('schema', 'tenant', 'accepted_at', 'correlation_id', 'target', 'messages')
    fc.assert(fc.property(field, junk, (name, value) => check(withField(name, value))))
    fc.assert(fc.property(fc.nat({ max: 5 }), junk, (index, value) => check(withMessageValue(index, value))))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => check(Buffer.from(bytes))))
    const bytes = validRecord()
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 }), (at, value) => {
        const changed = Buffer.from(bytes)
        changed[at] = value
        check(changed)
      }),
    )
    check(bytes)
    expect(decodeRecord(bytes).messages).to.have.length(1)
  })
  it('is decoded if its bytes come from an engine, and not if this process has encoded it', () => {
    const bytes = validRecord()
    const record = decodeRecord(Buffer.from(bytes))
    rememberRecord(bytes, record)
    expect(decodeRecord(bytes)).to.equal(record)
    const decoded = decodeRecord(Buffer.from(bytes))
    expect(decoded).to.deep.equal(record)
    expect(decoded).to.not.equal(record)
  })
})
