import { randomUUID } from 'node:crypto'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import { expect } from 'chai'
import fc from 'fast-check'
import { encodeAppend } from '../../src/adapters/eventstoredb/events.ts'
import { createOwnEvents } from '../../src/adapters/eventstoredb/own-events.ts'
import { decodeReadResponse, encodeAppendRequest, encodeEvent } from '../../src/adapters/eventstoredb/wire.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import { anAttempts, anEvent } from '../support/event-store-events.ts'

const texts = fc.string({ unit: 'grapheme', maxLength: 300 })
const events = fc.record({ type: texts, data: fc.record({ text: texts }) }).map((parts) => anEvent(parts as Partial<NewEvent>))
const bytes = (text: string) => new Uint8Array(Buffer.from(text))

const readResponse = (event: NewEvent, stream: string, { revision = '7', commit = '9007199254740995' } = {}) => {
  const recorded = new streams.ReadResp.ReadEvent.RecordedEvent()
    .setId(new shared.UUID().setString(event.id))
    .setStreamIdentifier(new shared.StreamIdentifier().setStreamName(bytes(stream)))
    .setStreamRevision(revision)
    .setCommitPosition(commit)
    .setPreparePosition('5')
    .setData(bytes(JSON.stringify(event.data)))
    .setCustomMetadata(bytes(JSON.stringify(event.metadata)))
  for (const [key, value] of [
    ['created', '1'],
    ['type', event.type],
    ['content-type', 'application/json'],
  ] as const)
    recorded.getMetadataMap().set(key, value)
  const message = new streams.ReadResp().setEvent(new streams.ReadResp.ReadEvent().setEvent(recorded).setCommitPosition(commit))
  const decoded = decodeReadResponse(Buffer.from(message.serializeBinary()))
  if (decoded.kind !== 'event') throw new Error('the message has no event')
  return decoded.event
}

describe('the messages of EventStoreDB', () => {
  it('are encoded for an append as the library reads them', () => {
    fc.assert(
      fc.property(fc.array(events, { minLength: 1, maxLength: 4 }), texts, (appended, stream) => {
        const id = randomUUID()
        const request = streams.BatchAppendReq.deserializeBinary(
          new Uint8Array(encodeAppendRequest(id, stream, appended.map(encodeEvent), 3)),
        )
        expect(request.getCorrelationId()?.getString()).to.equal(id)
        expect(request.getIsFinal()).to.equal(true)
        expect(request.getOptions()?.hasAny()).to.equal(true)
        expect(Buffer.from(request.getOptions()?.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString()).to.equal(stream)
        const proposed = request.getProposedMessagesList().map((message) => ({
          id: message.getId()?.getString(),
          type: message.getMetadataMap().get('type'),
          contentType: message.getMetadataMap().get('content-type'),
          data: JSON.parse(Buffer.from(message.getData_asU8()).toString()),
          metadata: JSON.parse(Buffer.from(message.getCustomMetadata_asU8()).toString()),
        }))
        expect(proposed).to.deep.equal(appended.map((event) => ({ ...event, contentType: 'application/json' })))
      }),
    )
  })
  it('are decoded as the library writes them', () => {
    fc.assert(
      fc.property(events, texts, fc.bigInt({ min: 0n, max: (1n << 63n) - 1n }), (event, stream, commit) => {
        const { data, metadata, ...fields } = readResponse(event, stream, { revision: '300', commit: String(commit) })
        expect(fields).to.deep.equal({ id: event.id, type: event.type, stream, revision: 300, commit, contentType: 'application/json' })
        expect([JSON.parse(data.toString()), JSON.parse(metadata.toString())]).to.deep.equal([event.data, event.metadata])
      }),
    )
    const checkpoint = new streams.ReadResp.Checkpoint().setCommitPosition('12').setPreparePosition('11')
    const kinds = [
      new streams.ReadResp().setCheckpoint(checkpoint),
      new streams.ReadResp().setConfirmation(new streams.ReadResp.SubscriptionConfirmation().setSubscriptionId('x')),
      new streams.ReadResp().setCaughtUp(new streams.ReadResp.CaughtUp()),
    ].map((message) => decodeReadResponse(Buffer.from(message.serializeBinary())))
    expect(kinds).to.deep.equal([{ kind: 'checkpoint', commit: 12n }, { kind: 'confirmation' }, { kind: 'other' }])
  })
})

describe('the events that a process has appended itself', () => {
  it('are taken once, and only with the same bytes', () => {
    const ownEvents = createOwnEvents()
    const stream = anAttempts()
    const [remembered, other] = [anEvent({ data: { text: 'ü' } }), anEvent({ data: { n: 1 } })]
    ownEvents.add(encodeAppend(stream, [remembered, other], 'any'))
    expect(ownEvents.take(readResponse(remembered, stream))).to.equal(remembered)
    expect(ownEvents.take(readResponse(remembered, stream))).to.equal(undefined)
    expect(ownEvents.take(readResponse({ ...other, data: { n: 2 } }, stream))).to.equal(undefined)
  })
  it('are forgotten, the oldest first, beyond 8 MiB', () => {
    const ownEvents = createOwnEvents()
    const stream = anAttempts()
    const big = Array.from({ length: 12 }, () => anEvent({ data: { text: 'x'.repeat(900_000) } }))
    for (const event of big) ownEvents.add(encodeAppend(stream, [event], 'any'))
    expect(ownEvents.take(readResponse(big[0]!, stream))).to.equal(undefined)
    expect(ownEvents.take(readResponse(big[11]!, stream))).to.equal(big[11])
  })
})
