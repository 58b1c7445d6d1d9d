import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EventStoreDBClient, jsonEvent } from '@eventstore/db-client'
import { expect } from 'chai'
import { readConfig } from '../../src/config/config.ts'
import { silentLog } from '../../src/lib/log.ts'
import { verify } from '../../src/operator/verify.ts'
import { fromLine, toLine } from '../support/eventstoredb/disk.ts'
import { type EventStoreDbProcess, startEventStoreDb } from '../support/eventstoredb/index.ts'
import type { Stored } from '../support/eventstoredb/stored.ts'
import { startLoad } from '../support/load.ts'
import { removeFolder, temporaryFolder } from '../support/service.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

/*
 * Somebody who may write to EventStoreDB, or to the files of its server, changes what is stored there. The tests append through the server, or rewrite
 * the file of the double while it does not run. docs/audit.md says what is proven.
 */
describe('changes that somebody makes in EventStoreDB', () => {
  let folder: string
  let store: EventStoreDbProcess
  const services = withServices({
    sharedDatabase: true,
    variables: () => ({ EVENTSTOREDB_URL: store.url, KOLBAK_LOG_HEAD_SECONDS: '1', KOLBAK_LOG_BATCH_SECONDS: '1' }),
  })
  let service: Awaited<ReturnType<typeof services.start>>
  let api: Client
  before(async () => {
    folder = await temporaryFolder()
    store = await startEventStoreDb({ data: folder })
    service = await services.start()
    api = await clientOf(service.url)
  })
  after(async () => {
    await store.stop()
    await removeFolder(folder)
  })
  const verifyNow = () => verify(readConfig(services.variables({ KOLBAK_DATA_DIR: services.dataDir })), silentLog, { batches: 1_000 })
  const faultsNow = async () => (await verifyNow()).faults.map(({ where, fault }) => `${where} ${fault}`)
  const subscribe = () =>
    api.post<WebhookResponse>('/v1/webhooks', { callback_url: services.receiver.url('/hook'), event: 'load.*', description: 'first' })
  const change = (id: string) =>
    api.call<{ error: { code: string; message: string } }>('PATCH', `/v1/webhooks/${id}`, { description: randomUUID() })
  const quarantined = async (stream: string): Promise<{ projection: string; error: string }[]> =>
    (await services.db.pool.query('select projection, error from quarantined_streams where stream = $1', [stream])).rows

  const file = () => join(folder, 'events.jsonl')
  const storedEvents = async () => (await readFile(file(), 'utf8')).trim().split('\n').flatMap(fromLine)
  /** Replaces each stored event by the events that `by` returns for it, while the double does not run. */
  const rewrite = async (by: (event: Stored) => readonly Stored[]): Promise<void> => {
    await store.kill()
    const writes = (await readFile(file(), 'utf8')).trim().split('\n').map(fromLine)
    await writeFile(
      file(),
      writes
        .map((events) => events.flatMap(by))
        .filter((events) => events.length > 0)
        .map(toLine)
        .join(''),
    )
    await store.restart()
  }
  const isAt = (event: Stored, stream: string, revision: number) => event.stream === stream && event.revision === revision

  it('a restart of the server, which forgets the ids of events, leaves a log without a fault', async () => {
    await subscribe()
    const load = startLoad(service.url, `Bearer ${api.token}`, { perSecond: 40 })
    const sealedBatches = async () => (await storedEvents()).filter(({ type }) => type === 'BatchSealed').length
    await waitFor(async () => (await sealedBatches()) > 0, { what: 'a batch before the restart' })
    await store.kill()
    await store.restart()
    const sealed = await sealedBatches()
    const accepted = load.accepted.length
    await waitFor(() => load.accepted.length > accepted + 40)
    await load.stop()
    await waitFor(() => new Set(services.receiver.ids('/hook')).size >= load.accepted.length)
    await waitFor(async () => (await sealedBatches()) > sealed, { what: 'a batch after the restart' })
    const { faults, batches } = await verifyNow()
    expect(faults).to.deep.equal([])
    expect(batches.checked).to.equal(batches.sealed)
  })
  it('an event that somebody appends in the name of a customer is never applied', async () => {
    const { id } = await subscribe()
    const stream = `webhook-${id}`
    const genuine = (await storedEvents()).find((event) => isAt(event, stream, 0))!
    const metadata = { ...JSON.parse(genuine.metadata.toString()), actor: 'client:the-customer-himself' }
    const client = EventStoreDBClient.connectionString(store.url)
    await client.appendToStream(stream, jsonEvent({ type: 'WebhookDeactivated', data: { id, reason: 'requested' }, metadata }))
    await client.dispose()
    const rows = await waitFor(async () => {
      const found = await quarantined(stream)
      return found.some(({ projection }) => projection === 'webhooks') ? found : null
    })
    expect(rows[0]?.error).to.equal(`event_forged: ${stream}@1 has a MAC that does not fit: it is not what Kolbak has written`)
    expect(await api.get<WebhookResponse>(`/v1/webhooks/${id}`)).to.include({ is_active: true })
    const refused = await change(id)
    expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
    expect(refused.body.error.message).to.include(`${stream}@1 is altered`)
    const faults = await faultsNow()
    expect(
      faults.some((fault) => new RegExp(`^${stream}@1 (altered|inserted) \\(mac\\)`).test(fault)),
      faults.join('\n'),
    ).to.equal(true)
  })

  describe('in the files of the server', () => {
    let whole: string
    let webhooks: string[]
    let size: number
    before(async () => {
      webhooks = []
      for (let i = 0; i < 2; i++) {
        const { id } = await subscribe()
        expect((await change(id)).status).to.equal(200)
        webhooks.push(id)
      }
      const { rows } = await services.db.pool.query('select max(index)::int + 1 as size from audit_events')
      await waitFor(async () => {
        const heads = await services.db.pool.query('select max(size)::int as size from log_heads')
        return heads.rows[0].size >= rows[0].size
      })
      await service.kill('SIGTERM')
      size = (await services.db.pool.query('select max(size)::int as size from log_heads')).rows[0].size
      whole = await readFile(file(), 'utf8')
    })
    const putBack = async () => {
      await store.kill()
      await writeFile(file(), whole)
      await store.restart()
    }
    afterEach(putBack)
    const streamOf = (i: number) => `webhook-${webhooks[i]}`
    /** Returns the faults that the alteration adds to those of the forged event, which stays. */
    const newFaults = async (by: (event: Stored) => readonly Stored[]) => {
      const before = new Set(await faultsNow())
      await rewrite(by)
      return (await faultsNow()).filter((fault) => !before.has(fault))
    }

    it('altered bytes of an event are named', async () => {
      const faults = await newFaults((event) =>
        isAt(event, streamOf(0), 0) ? [{ ...event, data: Buffer.from(event.data.toString().replace('load.*', '*')) }] : [event],
      )
      expect(faults[0]).to.match(new RegExp(`^${streamOf(0)}@0 altered \\(mac\\), altered \\(leaf \\d+\\)$`))
      expect(faults).to.include(`head ${size} root differs`)
    })
    it('a stream whose end was cut is named', async () => {
      const faults = await newFaults((event) => (isAt(event, streamOf(1), 1) ? [] : [event]))
      expect(
        faults.some((fault) => new RegExp(`^${streamOf(1)}@1 missing \\(leaf \\d+\\)$`).test(fault)),
        faults.join('\n'),
      ).to.equal(true)
      // A batch that was sealed at the stop may be newer than the head, so the log may still be as long as the head says.
      expect(
        faults.some((fault) => new RegExp(`^head ${size} (root differs|the event store has \\d+ events)$`).test(fault)),
        faults.join('\n'),
      ).to.equal(true)
    })
    it('an altered attempt and a removed one are named by their batches', async () => {
      const attempts = (await storedEvents()).filter(({ type }) => type === 'DeliverySucceeded')
      const [altered, removed] = [attempts[0]!, attempts.at(-1)!]
      const faults = await newFaults((event) => {
        if (event.id === removed.id && event.stream === removed.stream) return []
        if (event.id !== altered.id) return [event]
        return [{ ...event, data: Buffer.from(event.data.toString().replace('"code":200', '"code":204')) }]
      })
      expect(
        faults.some((fault) => /^batch \d+ root differs/.test(fault)),
        faults.join('\n'),
      ).to.equal(true)
      expect(
        faults.some((fault) => /^batch \d+ \d+ events, sealed \d+/.test(fault)),
        faults.join('\n'),
      ).to.equal(true)
    })
    it('the service that meets them first refuses to change these resources', async () => {
      await rewrite((event) => {
        if (isAt(event, streamOf(1), 1)) return []
        if (!isAt(event, streamOf(0), 1)) return [event]
        return [{ ...event, metadata: Buffer.from(event.metadata.toString().replace('client:admin', 'client:nobody')) }]
      })
      service = await services.start()
      api = await clientOf(service.url)
      for (const [i, what] of [`${streamOf(0)}@1 is altered`, `${streamOf(1)}@1 is missing`].entries()) {
        const refused = await change(webhooks[i]!)
        expect(`${refused.status} ${refused.body.error.code}`).to.equal('503 stream_faulty')
        expect(refused.body.error.message).to.include(what)
      }
      await service.kill('SIGTERM')
    })
  })
})
