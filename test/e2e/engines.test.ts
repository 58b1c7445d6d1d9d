import { expect } from 'chai'
import pg from 'pg'
import { describeOn, enginesFor, eventStoreOf } from '../support/engine-sets.ts'
import { startKafka } from '../support/engines/kafka.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describeOn('engines at the start', ['eventstoredb', 'kafka', 'cassandra'], () => {
  const services = withServices({ each: true, sharedDatabase: true })
  const { start, spawn, failToStart } = services

  it('may be unavailable at first: the process runs, and becomes ready once they are available', async () => {
    await enginesFor(services.db.url)
    const store = await eventStoreOf(services.db.url)
    await store.kill()
    const { child, logLines, exited } = await spawn()
    try {
      const { url } = await waitFor(() => logLines.find((line) => line.msg === 'kolbak.listening'))
      await waitFor(() => logLines.find((line) => line.msg === 'engine.unavailable' && line.engine === 'eventstoredb'))
      expect((await fetch(`${url}/health/live`)).status).to.equal(200)
      expect((await fetch(`${url}/health/ready`)).status).to.equal(503)
      const refused = await fetch(`${url}/v1/events`, { method: 'POST', body: '{}' })
      expect(refused.status).to.equal(503)
      expect(await refused.json()).to.have.nested.property('error.code', 'not_ready')
      await store.restart()
      await waitFor(() => logLines.find((line) => line.msg === 'kolbak.ready'))
      await waitFor(async () => (await fetch(`${url}/health/ready`)).status === 200)
      await clientOf(String(url))
    } finally {
      child.kill('SIGTERM')
      await exited
    }
  })
  it('do not prevent the process from stopping when they stay unavailable', async () => {
    const { child, logLines, exited } = await spawn({ EVENTSTOREDB_URL: 'esdb://127.0.0.1:1?tls=false' })
    await waitFor(() => logLines.find((line) => line.msg === 'engine.unavailable'))
    child.kill('SIGTERM')
    expect(await exited).to.equal(0)
  })
  it('are named in a sentence when one of their variables is missing or faulty', async () => {
    const cases: [Record<string, string>, string][] = [
      [
        { CASSANDRA_CONTACT_POINTS: 'localhost', CASSANDRA_DATACENTER: '' },
        'CASSANDRA_DATACENTER is required with CASSANDRA_CONTACT_POINTS',
      ],
      [{ CASSANDRA_KEYSPACE: 'No-Such' }, 'CASSANDRA_KEYSPACE must be'],
      [{ EVENTSTOREDB_URL: 'http://localhost' }, 'EVENTSTOREDB_URL must be a connection string'],
      [{ KAFKA_SASL_MECHANISM: 'plain' }, 'KAFKA_SASL_PASSWORD is required with KAFKA_SASL_MECHANISM'],
      [{ KAFKA_MIN_INSYNC_REPLICAS: '2' }, 'KAFKA_MIN_INSYNC_REPLICAS must not be above KAFKA_REPLICATION_FACTOR'],
      [{ KAFKA_SSL: 'true', KAFKA_SSL_CA: '/no/such/file.pem' }, 'KAFKA_SSL_CA: /no/such/file.pem cannot be read'],
      [{ KAFKA_SSL: 'true', KAFKA_SSL_CA: import.meta.filename }, 'KAFKA_SSL_CA must name files in PEM format'],
    ]
    for (const [more, sentence] of cases) {
      const { code, stderr } = await failToStart(more)
      expect(code, stderr).to.equal(78)
      expect(stderr).to.include(sentence)
    }
  })
  it('are refused when they are not the same as at the last start', async () => {
    const service = await start()
    await service.kill('SIGTERM')
    const invalidVariables: [Record<string, string>, RegExp][] = [
      [{ EVENTSTOREDB_URL: '' }, /event store was eventstoredb-\S+ the last time, and is postgres now/],
      [{ KAFKA_TOPIC: 'another' }, /message bus was kafka-\S+ the last time, and is kafka-\S+-another now/],
      [{ CASSANDRA_KEYSPACE: 'another' }, /delivery log was cassandra-\S+ the last time/],
    ]
    for (const [more, sentence] of invalidVariables) {
      const { code, stderr } = await failToStart(more)
      expect(code, stderr).to.equal(78)
      expect(stderr).to.match(sentence).and.to.include('kolbak move')
    }
  })
  it('are refused when they contain less than was already read from them', async () => {
    const service = await start()
    await service.kill('SIGTERM')
    const client = new pg.Client({ connectionString: services.db.url })
    await client.connect()
    try {
      await client.query(
        "insert into bus_offsets (bus, partition, next_offset) select identity, 0, 7 from engines where port = 'message_bus'",
      )
      const bus = await failToStart({})
      expect(bus.code, bus.stderr).to.equal(78)
      expect(bus.stderr).to.match(/Partition 0 of the message bus .* ends at 0, but messages up to 7 are done/)
      await client.query('delete from bus_offsets')
      await client.query("update projections set checkpoint = repeat('9', 20) where name = 'tenants'")
      const store = await failToStart({})
      expect(store.code, store.stderr).to.equal(78)
      expect(store.stderr).to.match(/event store ends at .*projection tenants has read up to 9+/)
    } finally {
      await client.end()
    }
  })
})

describeOn('engines in operation', ['kafka'], () => {
  const token = 'a-token-for-the-tests-of-engines'
  const { start } = withServices({ sharedDatabase: true, variables: { KOLBAK_METRICS_TOKEN: token } })

  it('make every process that needs them not ready, even if no event is posted, and are named to operators', async () => {
    const projector = await start({ KOLBAK_ROLES: 'projector' })
    const api = await start({ KOLBAK_ROLES: 'api' })
    const statusOf = async (url: string) => (await fetch(`${url}/health/ready`)).status
    expect(await statusOf(api.url)).to.equal(200)
    const kafka = await startKafka()
    await kafka.kill()
    try {
      await waitFor(async () => (await statusOf(api.url)) === 503, { what: 'the process to notice that Kafka is away' })
      const seen = await fetch(`${api.url}/health/ready`, { headers: { authorization: `Bearer ${token}` } })
      const { error } = (await seen.json()) as { error: { details: { path: string; message: string }[] } }
      expect(error.details.map(({ path }) => path)).to.deep.equal(['message bus'])
      expect(error.details[0]!.message).to.match(/^does not respond correctly for \d+ s \(.+\)$/)
      expect(await statusOf(projector.url), 'a projector does not need Kafka').to.equal(200)
    } finally {
      await kafka.start()
    }
    await waitFor(async () => (await statusOf(api.url)) === 200, { what: 'the process to be ready again' })
  })
})
