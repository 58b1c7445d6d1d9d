import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { createCassandraDeliveryLog } from '../../src/adapters/cassandra/delivery-log.ts'
import type { EventId } from '../../src/events/ids.ts'
import { placeOf } from '../../src/events/message-record.ts'
import { codeOf, KolbakError } from '../../src/lib/errors.ts'
import type { DeliveryFact } from '../../src/ports/delivery-log.ts'
import { openCassandraLog, optionsOn } from '../support/delivery-log-cassandra.ts'
import { type Cassandra, describeWithCassandra, sharedCassandra, startCassandra } from '../support/engines/cassandra.ts'
import { isFull } from '../support/is-full.ts'
import { waitFor } from '../support/wait-for.ts'
import { fact } from './delivery-log.contract.ts'

const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.fail('it should have failed'),
    (error: unknown) => error,
  )
const succeeded = (routed: DeliveryFact): DeliveryFact => ({
  ...routed,
  type: 'DeliverySucceeded',
  attempt: 1,
  event_id: randomUUID() as EventId,
})

describeWithCassandra('the schema of the delivery log on Cassandra', () => {
  it('is created once when several processes open it at the same time', async () => {
    const cassandra = await sharedCassandra()
    const migrated: object[] = []
    const note = (fields: object, message: string) => void (message === 'cassandra.migrated' && migrated.push(fields))
    const options = { ...optionsOn(cassandra), log: { ...optionsOn(cassandra).log, info: note } }
    const logs = await Promise.all(Array.from({ length: 4 }, () => createCassandraDeliveryLog(options)))
    await Promise.all(logs.map((log) => log.makeBuild(1)))
    expect(new Set(logs.map(({ identity }) => identity))).to.have.property('size', 1)
    expect(logs[0]?.identity).to.match(/^cassandra-[0-9a-f]{8}$/)
    expect(migrated.map((fields) => 'migration' in fields && fields.migration)).to.deep.equal([
      '0001_archive',
      '0002_history_1',
      '0003_undelivered_1',
    ])
    const routed = fact({ type: 'MessageRouted' })
    await logs[0]!.historyOf(1).record([routed])
    for (const log of logs) expect(await log.historyOf(1).find(routed.tenant, routed.delivery)).to.include({ status: 'pending' })
    await Promise.all(logs.map((log) => log.close()))
    await cassandra.query(`drop keyspace ${options.keyspace}`)
  })

  it('has separate builds of the history, and one archive', async () => {
    const { log, history: first, drop } = await openCassandraLog()
    const second = log.historyOf(2)
    const routed = fact({ type: 'MessageRouted' })
    const key = { ...routed, place: placeOf('kafka', 0, 0n, 0) }
    await first.record([routed])
    await log.archive([{ ...key, sealedBody: Buffer.from('kept') }])
    expect(codeOf(await failureOf(second.states([routed])))).to.equal('delivery_log_unavailable')

    await log.makeBuild(2)
    await log.makeBuild(2)
    expect(await second.states([routed])).to.deep.equal([null])
    await second.record([succeeded(routed)])
    expect((await first.states([routed]))[0]?.status).to.equal('pending')
    expect((await second.states([routed]))[0]?.status).to.equal('success')

    await log.dropBuild(1)
    await log.dropBuild(1)
    expect(codeOf(await failureOf(first.record([routed])))).to.equal('delivery_log_unavailable')
    expect((await second.history(routed.webhook, { tenant: routed.tenant, limit: 10 })).map(({ status }) => status)).to.deep.equal([
      'success',
    ])
    expect(await log.bodies([key])).to.deep.equal([Buffer.from('kept')])
    await drop()
  })

  it('finishes the calls in flight before it closes', async () => {
    const { log, history, options, cassandra } = await openCassandraLog()
    const many = Array.from({ length: 500 }, () => fact({ type: 'MessageRouted' }))
    const recording = history.record(many)
    await log.close()
    await recording
    const reopened = await createCassandraDeliveryLog(options)
    expect(reopened.identity).to.equal(log.identity)
    expect((await reopened.historyOf(1).states(many)).every((state) => state !== null)).to.equal(true)
    await reopened.close()
    await cassandra.query(`drop keyspace ${options.keyspace}`)
  })

  it('fails to open when no node responds, when the data centre is unknown, and with an invalid name', async () => {
    const options = optionsOn(await sharedCassandra())
    const nobody = await failureOf(createCassandraDeliveryLog({ ...options, contactPoints: ['127.0.0.1:1'] }))
    expect(nobody).to.not.be.instanceOf(KolbakError) // a start waits and retries after such an error
    expect(codeOf(nobody)).to.equal('delivery_log_unavailable')
    const elsewhere = await failureOf(createCassandraDeliveryLog({ ...options, localDataCenter: 'nowhere' }))
    expect(elsewhere).to.be.instanceOf(KolbakError).and.include({ code: 'invalid_config' })
    expect(await failureOf(createCassandraDeliveryLog({ ...options, keyspace: 'a; drop' }))).to.be.instanceOf(RangeError)
  })
})

describeWithCassandra('the delivery log on a separate Cassandra', () => {
  let cassandra: Cassandra
  before(async () => {
    cassandra = await startCassandra({ withPasswords: true, withTls: true })
  })
  after(() => cassandra?.stop())

  it('accepts the right password, and reports a missing permission', async () => {
    const { options, log } = await openCassandraLog({ cassandra })
    await log.close()
    const wrong = await failureOf(createCassandraDeliveryLog({ ...options, credentials: { username: 'cassandra', password: 'wrong' } }))
    expect(wrong).to.be.instanceOf(KolbakError).and.include({ code: 'invalid_config' })
    expect(String((wrong as Error).message)).to.not.include('wrong')
    const { credentials: _, ...anonymous } = options
    expect(codeOf(await failureOf(createCassandraDeliveryLog(anonymous)))).to.equal('invalid_config')

    await cassandra.query(`create role app with password = 'secret' and login = true`)
    const app = { ...options, credentials: { username: 'app', password: 'secret' } }
    const missing = await failureOf(createCassandraDeliveryLog({ ...app, keyspace: cassandra.newKeyspace() }))
    expect(codeOf(missing)).to.equal('invalid_config')
    // A user needs no permission to create keyspaces if the keyspace exists.
    await cassandra.query(`grant all on keyspace ${options.keyspace} to app`)
    const opened = await createCassandraDeliveryLog(app)
    await opened.makeBuild(2)
    await opened.close()
  })

  it('is refused without TLS, and with a certificate of an unknown authority', async () => {
    const { ssl: _, ...clear } = optionsOn(cassandra)
    for (const options of [clear, { ...clear, ssl: {} }])
      expect(codeOf(await failureOf(createCassandraDeliveryLog(options)))).to.equal('delivery_log_unavailable')
  })

  // By default only `test/faults/engines.test.ts` kills a Cassandra, under the whole service.
  const itInFull = (title: string, test: Mocha.AsyncFunc) => void (isFull && it(title, test))
  itInFull('survives a kill of Cassandra during writes: no resolved write is lost, and it continues by itself', async () => {
    const { log, history } = await openCassandraLog({ cassandra, readTimeoutMs: 2_000 })
    const stored: DeliveryFact[] = []
    const failures: unknown[] = []
    let stopped = false
    const writer = async () => {
      while (!stopped) {
        const facts = Array.from({ length: 20 }, () => fact({ type: 'DeliveryFailed' }))
        // The same batch is repeated until it is stored, as the projector does.
        await waitFor(
          () =>
            history.record(facts).then(
              () => true,
              (error: unknown) => {
                failures.push(error)
                throw error
              },
            ),
          { what: 'a batch to be stored' },
        )
        stored.push(...facts)
      }
    }
    const writers = Promise.all([writer(), writer(), writer()])
    await waitFor(() => stored.length > 1_000)
    await cassandra.kill()
    await waitFor(() => failures.length > 0)
    const before = stored.length
    await cassandra.restart()
    await waitFor(() => stored.length > before + 1_000, { what: 'writes to go on' })
    stopped = true
    await writers
    expect(failures.every((error) => codeOf(error) === 'delivery_log_unavailable')).to.equal(true)
    const states = await history.states(stored)
    expect(states.filter((state) => state?.status !== 'retrying')).to.deep.equal([])
    await log.close()
  })
})
