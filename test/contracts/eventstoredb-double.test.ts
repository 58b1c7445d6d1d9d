import { randomUUID } from 'node:crypto'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ANY,
  type AppendExpectedRevision,
  BACKWARDS,
  END,
  EventStoreDBClient,
  FORWARDS,
  jsonEvent,
  MaxAppendSizeExceededError,
  NO_STREAM,
  type Position,
  START,
  STREAM_EXISTS,
  StreamDeletedError,
  StreamNotFoundError,
  streamNameFilter,
  WrongExpectedVersionError,
} from '@eventstore/db-client'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import streamServices from '@eventstore/db-client/generated/streams_grpc_pb.js'
import streams from '@eventstore/db-client/generated/streams_pb.js'
import { credentials as grpcCredentials } from '@grpc/grpc-js'
import { expect } from 'chai'
import { errorOf } from '../support/event-store-events.ts'
import { type EventStoreDbDouble, serveEventStoreDb } from '../support/eventstoredb/server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { waitFor } from '../support/wait-for.ts'

/** With these credentials in a call, the client appends by the RPC Append. Without them, it appends by BatchAppend. */
const credentials = { username: 'none', password: 'none' }
const someEvents = (count: number) => Array.from({ length: count }, () => jsonEvent({ id: randomUUID(), type: 'Tested', data: { n: 1 } }))
const aStream = () => `webhook-${randomUUID()}`

describe("EventStoreDB's double", () => {
  let data: string
  let server: EventStoreDbDouble
  let client: EventStoreDBClient
  const start = async () => {
    server = await serveEventStoreDb({ data })
    client = EventStoreDBClient.connectionString(server.url)
  }
  const stop = async () => {
    await client.dispose()
    await server.close()
  }
  before(async () => {
    data = mkdtempSync(join(tmpdir(), 'kolbak-eventstoredb-'))
    await start()
  })
  after(async () => {
    await stop()
    rmSync(data, { recursive: true })
  })

  const read = async (stream: string, options: Parameters<EventStoreDBClient['readStream']>[1] = {}) => {
    const revisions: number[] = []
    for await (const { event } of client.readStream(stream, options)) revisions.push(Number(event?.revision))
    return revisions
  }
  /** Returns the events of $all after a position, as `stream@revision`, up to the given event. */
  const follow = async (until: string, options: Parameters<EventStoreDBClient['subscribeToAll']>[0] = {}) => {
    const seen: string[] = []
    const positions: Position[] = []
    const subscription = client.subscribeToAll(options)
    for await (const { event } of subscription) {
      if (event === undefined) continue
      seen.push(`${event.streamId}@${event.revision}`)
      positions.push(event.position)
      if (seen.at(-1) === until) break
    }
    await subscription.unsubscribe()
    return { seen, positions }
  }

  for (const [rpc, options] of [
    ['Append', { credentials }],
    ['BatchAppend', {}],
  ] as const)
    describe(`appending by ${rpc}`, () => {
      const append = (stream: string, events: ReturnType<typeof someEvents>, expectedRevision: AppendExpectedRevision) =>
        client.appendToStream(stream, events, { ...options, expectedRevision })
      const wrong = async (stream: string, events: ReturnType<typeof someEvents>, expectedRevision: AppendExpectedRevision) => {
        const error = await errorOf(append(stream, events, expectedRevision))
        if (!(error instanceof WrongExpectedVersionError)) throw error
        return error.actualVersion
      }
      it('uses that RPC', async () => {
        const name = rpc === 'Append' ? 'append' : 'batchAppend'
        const before = server.faults.calls[name]
        await append(aStream(), someEvents(1), ANY)
        // One call of BatchAppend carries many appends.
        expect(server.faults.calls[name]).to.be.at.least(rpc === 'Append' ? before + 1 : 1)
      })
      it('accepts an append only when the stream is as expected', async () => {
        const stream = aStream()
        expect(await wrong(stream, someEvents(1), STREAM_EXISTS)).to.equal('no_stream')
        expect(await wrong(stream, someEvents(1), 0n)).to.equal('no_stream')
        expect((await append(stream, someEvents(3), NO_STREAM)).nextExpectedRevision).to.equal(2n)
        expect(await wrong(stream, someEvents(1), NO_STREAM)).to.equal(2n)
        expect(await wrong(stream, someEvents(1), 1n)).to.equal(2n)
        expect(await wrong(stream, someEvents(1), 3n)).to.equal(2n)
        expect((await append(stream, someEvents(1), 2n)).nextExpectedRevision).to.equal(3n)
        expect((await append(stream, someEvents(1), STREAM_EXISTS)).nextExpectedRevision).to.equal(4n)
        expect((await append(stream, someEvents(1), ANY)).nextExpectedRevision).to.equal(5n)
      })
      it('treats a stream that has only metadata as existing', async () => {
        const stream = aStream()
        await client.setStreamMetadata(stream, { maxAge: 60 }, options)
        expect((await append(stream, someEvents(1), STREAM_EXISTS)).nextExpectedRevision).to.equal(0n)
      })
      for (const expected of [ANY, STREAM_EXISTS, NO_STREAM, 1n] as const)
        it(`returns the first result for a repeat, expecting ${expected}`, async () => {
          const stream = aStream()
          if (expected !== NO_STREAM) await append(stream, someEvents(2), NO_STREAM)
          const events = someEvents(3)
          const first = await append(stream, events, expected)
          await append(stream, someEvents(2), ANY)
          expect(await append(stream, events, expected)).to.deep.equal(first)
          expect(await read(stream)).to.have.length(expected === NO_STREAM ? 5 : 7)
        })
      it('refuses an append whose first id is stored and a later one is not, with any expectation', async () => {
        const stream = aStream()
        const events = someEvents(2)
        await append(stream, events, NO_STREAM)
        for (const expected of [ANY, STREAM_EXISTS, NO_STREAM] as const)
          expect(await wrong(stream, [...events, ...someEvents(1)], expected)).to.equal(1n)
      })
      it('appends with `any` if the first id is not stored, even if later ones are', async () => {
        const stream = aStream()
        const events = someEvents(1)
        await append(stream, events, NO_STREAM)
        expect((await append(stream, [...someEvents(1), ...events], ANY)).nextExpectedRevision).to.equal(2n)
      })
      it('searches ids only in that stream, and with an exact revision only after that revision', async () => {
        const [stream, other] = [aStream(), aStream()]
        const events = someEvents(3)
        await append(stream, events, NO_STREAM)
        expect((await append(other, events, ANY)).nextExpectedRevision).to.equal(2n)
        expect(await wrong(stream, events.slice(1), NO_STREAM)).to.equal(2n)
        expect((await append(stream, events.slice(1), 0n)).nextExpectedRevision).to.equal(2n)
      })
      it('refuses more than 1 MiB', async () => {
        const event = jsonEvent({ type: 'Tested', data: { text: 'x'.repeat(1 << 20) } })
        const error = await errorOf(client.appendToStream(aStream(), event, options))
        expect(error)
          .to.be.instanceOf(MaxAppendSizeExceededError)
          .and.to.include({ maxAppendSize: 1 << 20 })
      })
      it('refuses a tombstoned stream, with any expectation', async () => {
        const stream = aStream()
        await append(stream, someEvents(1), NO_STREAM)
        await client.tombstoneStream(stream)
        for (const expected of [ANY, STREAM_EXISTS, NO_STREAM, 0n] as const)
          expect(await errorOf(append(stream, someEvents(1), expected))).to.be.instanceOf(StreamDeletedError)
        expect(await errorOf(read(stream))).to.be.instanceOf(StreamDeletedError)
      })
    })

  it('appends nothing of an append whose connection ends in the middle of it', async () => {
    const proxy = await startTcpProxy(async () => ({ host: '127.0.0.1', port: server.port }))
    const raw = new streamServices.StreamsClient(`127.0.0.1:${proxy.port}`, grpcCredentials.createInsecure())
    try {
      const before = server.faults.calls.append
      const stream = aStream()
      const call = raw.append(() => {})
      call.on('error', () => {})
      const identifier = new shared.StreamIdentifier().setStreamName(new TextEncoder().encode(stream))
      call.write(
        new streams.AppendReq().setOptions(new streams.AppendReq.Options().setStreamIdentifier(identifier).setAny(new shared.Empty())),
      )
      const message = new streams.AppendReq.ProposedMessage().setId(new shared.UUID().setString(randomUUID()))
      message.getMetadataMap().set('type', 'Tested')
      call.write(new streams.AppendReq().setProposedMessage(message))
      await waitFor(() => server.faults.calls.append > before)
      proxy.cut()
      await client.appendToStream(stream, someEvents(1))
      await client.appendToStream(stream, someEvents(1))
      expect(await read(stream)).to.deep.equal([0, 1])
    } finally {
      raw.close()
      await proxy.close()
    }
  })
  describe('reading a stream', () => {
    it('goes forwards and backwards from a revision, inclusive', async () => {
      const stream = aStream()
      await client.appendToStream(stream, someEvents(5))
      expect(await read(stream, { fromRevision: 2n })).to.deep.equal([2, 3, 4])
      expect(await read(stream, { fromRevision: 3n, direction: BACKWARDS, maxCount: 2 })).to.deep.equal([3, 2])
      expect(await read(stream, { fromRevision: END, direction: BACKWARDS })).to.deep.equal([4, 3, 2, 1, 0])
      expect(await read(stream, { fromRevision: END, direction: FORWARDS })).to.deep.equal([])
      expect(await read(stream, { fromRevision: START, direction: BACKWARDS })).to.deep.equal([0])
    })
    it('reports that a stream does not exist', async () => {
      expect(await errorOf(read(aStream()))).to.be.instanceOf(StreamNotFoundError)
    })
    it('hides events by the last metadata of the stream', async () => {
      const stream = aStream()
      await client.appendToStream(stream, someEvents(6))
      await client.setStreamMetadata(stream, { maxCount: 2 })
      expect(await read(stream)).to.deep.equal([4, 5])
      await client.setStreamMetadata(stream, { truncateBefore: 3 })
      expect(await read(stream)).to.deep.equal([3, 4, 5])
      await client.setStreamMetadata(stream, {})
      expect(await read(stream)).to.deep.equal([0, 1, 2, 3, 4, 5])
    })
    it('hides events that are too old: a stream with only such events is empty, and $all still has them', async () => {
      const stream = aStream()
      await client.setStreamMetadata(stream, { maxAge: 5 })
      await client.appendToStream(stream, someEvents(2))
      expect(await read(stream)).to.deep.equal([0, 1])
      await waitFor(async () => (await read(stream)).length === 0, { what: 'the events to age' })
      expect((await client.appendToStream(stream, someEvents(1))).nextExpectedRevision).to.equal(2n)
      expect(await read(stream)).to.deep.equal([2])
      const { seen } = await follow(`${stream}@2`)
      expect(seen).to.include.members([`$$${stream}@0`, `${stream}@0`, `${stream}@1`])
    })
  })

  describe('a deleted stream', () => {
    it('cannot be read, and continues its revisions when it is written again', async () => {
      const stream = aStream()
      await client.setStreamMetadata(stream, { maxAge: 3_600 })
      await client.appendToStream(stream, someEvents(3))
      await client.deleteStream(stream)
      expect(await errorOf(read(stream))).to.be.instanceOf(StreamNotFoundError)
      expect(
        await errorOf(client.appendToStream(stream, someEvents(1), { credentials, expectedRevision: STREAM_EXISTS })),
      ).to.be.instanceOf(StreamDeletedError)
      expect((await client.appendToStream(stream, someEvents(2), { expectedRevision: NO_STREAM })).nextExpectedRevision).to.equal(4n)
      expect(await read(stream)).to.deep.equal([3, 4])
      expect((await client.getStreamMetadata(stream)).metadata).to.deep.equal({ truncateBefore: 3 })
      // The metadata that restore the stream come after the events.
      const { seen } = await follow(`$$${stream}@2`)
      expect(seen.slice(-3)).to.deep.equal([`${stream}@3`, `${stream}@4`, `$$${stream}@2`])
    })
    it('exists again when it gets metadata, without its earlier events', async () => {
      const stream = aStream()
      await client.appendToStream(stream, someEvents(2))
      await client.deleteStream(stream)
      await client.setStreamMetadata(stream, { maxAge: 60 })
      expect((await client.getStreamMetadata(stream)).metadata).to.deep.equal({ maxAge: 60, truncateBefore: 2 })
      expect(await read(stream)).to.deep.equal([])
      expect((await client.appendToStream(stream, someEvents(1))).nextExpectedRevision).to.equal(2n)
    })
    it('must exist, and have the expected revision', async () => {
      const stream = aStream()
      expect(await errorOf(client.deleteStream(stream))).to.be.instanceOf(WrongExpectedVersionError)
      await client.appendToStream(stream, someEvents(2))
      const error = await errorOf(client.deleteStream(stream, { expectedRevision: 0n }))
      expect(error).to.be.instanceOf(WrongExpectedVersionError).and.to.include({ actualVersion: 1n })
      await client.deleteStream(stream, { expectedRevision: 1n })
    })
  })

  describe('$all', () => {
    it('has the order of the returned positions for all readers under concurrent appends', async () => {
      const streams = Array.from({ length: 8 }, aStream)
      const other = EventStoreDBClient.connectionString(server.url)
      const appends = await Promise.all(
        Array.from({ length: 160 }, async (_, i) => {
          const stream = streams[i % 8]!
          const writer = i % 3 === 0 ? other : client
          const { nextExpectedRevision, position } = await writer.appendToStream(stream, someEvents(2), i % 2 === 0 ? { credentials } : {})
          return { name: `${stream}@${nextExpectedRevision}`, commit: position?.commit ?? -1n }
        }),
      )
      await other.dispose()
      const end = aStream()
      await client.appendToStream(end, someEvents(1))
      const [firstReader, secondReader] = await Promise.all([follow(`${end}@0`), follow(`${end}@0`)])
      expect(secondReader).to.deep.equal(firstReader)
      firstReader.positions.reduce((before, position) => {
        expect(position.commit > before.commit).to.equal(true)
        return position
      })
      for (const { name, commit } of appends) expect(firstReader.positions[firstReader.seen.indexOf(name)]?.commit).to.equal(commit)
      for (const stream of streams)
        expect(firstReader.seen.filter((name) => name.startsWith(stream))).to.deep.equal(
          Array.from({ length: 40 }, (_, i) => `${stream}@${i}`),
        )
    })
    it('continues after any position without gap or repeat', async () => {
      const [stream, end] = [aStream(), aStream()]
      for (let i = 0; i < 5; i++) await client.appendToStream(stream, someEvents(1 + (i % 3)))
      await client.appendToStream(end, someEvents(1))
      const { seen, positions } = await follow(`${end}@0`)
      for (const at of [0, 5, seen.length - 6, seen.length - 2])
        expect((await follow(`${end}@0`, { fromPosition: positions[at]! })).seen).to.deep.equal(seen.slice(at + 1))
    })
    it('reports the progress of a filtered subscription after each window, and at the end of the stored events', async () => {
      const prefix = `wanted-${randomUUID()}`
      const { position: from } = await client.appendToStream(aStream(), someEvents(1))
      const reported: string[] = []
      await client.appendToStream(`${prefix}-1`, someEvents(2))
      const { position: last } = await client.appendToStream(aStream(), someEvents(23))
      const subscription = client.subscribeToAll({
        fromPosition: from!,
        filter: streamNameFilter({
          prefixes: [prefix],
          maxSearchWindow: 10,
          checkpointInterval: 1,
          async checkpointReached(_, { commit }) {
            reported.push(`checkpoint ${commit <= (last?.commit ?? 0n)}`)
          },
        }),
      })
      subscription.on('confirmation', () => reported.push('confirmation'))
      subscription.on('caughtUp', () => reported.push('caught up'))
      subscription.on('data', ({ event }) => reported.push(`event ${event?.revision}`))
      await waitFor(() => reported.includes('caught up'))
      // There are 25 events: two full windows, and some more.
      expect(reported.filter((what) => !what.startsWith('event'))).to.deep.equal([
        'confirmation',
        ...Array.from({ length: 3 }, () => 'checkpoint true'),
        'caught up',
      ])
      await client.appendToStream(aStream(), someEvents(5)) // the third window is full
      await waitFor(() => reported.at(-1) === 'checkpoint false')
      await client.appendToStream(`${prefix}-1`, someEvents(1))
      await waitFor(() => reported.at(-1) === 'event 2')
      await subscription.unsubscribe()
    })
  })

  describe('a conflict', () => {
    it('is returned, in some of many races, a moment before the event that caused it can be read', async () => {
      let unseen = 0
      for (let race = 0; race < 60; race++) {
        const stream = aStream()
        const lost = async () => {
          const error = await errorOf(client.appendToStream(stream, someEvents(1), { credentials, expectedRevision: NO_STREAM }))
          expect(error).to.be.instanceOf(WrongExpectedVersionError)
          const seen = await read(stream).catch(() => [])
          if (seen.length === 0) unseen++
        }
        const won = client.appendToStream(stream, someEvents(1), { credentials, expectedRevision: NO_STREAM })
        await lost()
        await won
        expect(await read(stream)).to.deep.equal([0])
      }
      expect(unseen).to.be.within(1, 59)
    })
  })

  describe('a scavenge', () => {
    it('removes the events that the settings of their stream hide from $all for ever', async () => {
      const stream = aStream()
      await client.setStreamMetadata(stream, { maxCount: 1 })
      await client.appendToStream(stream, someEvents(3), { credentials })
      const end = aStream()
      await client.appendToStream(end, someEvents(1), { credentials })
      const revisionsInAll = async () => (await follow(`${end}@0`)).seen.filter((name) => name.startsWith(`${stream}@`))
      expect(await revisionsInAll()).to.have.length(3)
      await server.scavenge()
      expect(await revisionsInAll()).to.deep.equal([`${stream}@2`])
      await stop()
      await start()
      expect(await revisionsInAll()).to.deep.equal([`${stream}@2`])
      expect(await read(stream)).to.deep.equal([2])
    })
  })

  describe('after a restart', () => {
    it('has every event that it confirmed, with the same ids, revisions, positions and settings', async () => {
      const [stream, deleted, dead] = [aStream(), aStream(), aStream()]
      const events = someEvents(3)
      const first = await client.appendToStream(stream, events, { credentials, expectedRevision: NO_STREAM })
      await client.setStreamMetadata(stream, { maxCount: 2 })
      for (const each of [deleted, dead]) await client.appendToStream(each, someEvents(2))
      await client.deleteStream(deleted)
      await client.tombstoneStream(dead)
      const end = aStream()
      await client.appendToStream(end, someEvents(1))
      const before = await follow(`${end}@0`)
      await stop()
      await start()
      expect(await follow(`${end}@0`)).to.deep.equal(before)
      expect(await client.appendToStream(stream, events, { credentials, expectedRevision: NO_STREAM })).to.deep.equal(first)
      expect(await read(stream)).to.deep.equal([1, 2])
      expect(await errorOf(read(deleted))).to.be.instanceOf(StreamNotFoundError)
      expect(await errorOf(read(dead))).to.be.instanceOf(StreamDeletedError)
      expect((await client.appendToStream(deleted, someEvents(1))).nextExpectedRevision).to.equal(2n)
      const { position } = await client.appendToStream(end, someEvents(1))
      expect((position?.commit ?? 0n) > (before.positions.at(-1)?.commit ?? 0n)).to.equal(true)
    })
    it('has forgotten the ids of `any` and `stream_exists` appends, and compares ids of exact appends with its log', async () => {
      const stream = aStream()
      const events = someEvents(1)
      const repeat = async (expectedRevision: AppendExpectedRevision) =>
        (await client.appendToStream(stream, events, { credentials, expectedRevision })).nextExpectedRevision
      expect(await repeat(NO_STREAM)).to.equal(0n)
      expect(await repeat(ANY)).to.equal(0n)
      await stop()
      await start()
      expect(await repeat(NO_STREAM)).to.equal(0n)
      expect(await repeat(ANY)).to.equal(1n)
      await stop()
      await start()
      expect(await repeat(STREAM_EXISTS)).to.equal(2n)
    })
    it('leaves out a write that a crash interrupted', async () => {
      const stream = aStream()
      await client.appendToStream(stream, someEvents(1))
      await stop()
      appendFileSync(join(data, 'events.jsonl'), `[["${stream}",1,99999999,"`)
      await start()
      expect(await read(stream)).to.deep.equal([0])
      expect((await client.appendToStream(stream, someEvents(1))).nextExpectedRevision).to.equal(1n)
      await stop()
      await start()
      expect(await read(stream)).to.deep.equal([0, 1])
    })
  })
})
