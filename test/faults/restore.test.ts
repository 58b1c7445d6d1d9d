import { expect } from 'chai'
import pg from 'pg'
import { readConfig } from '../../src/config/config.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type Refilled, refill } from '../../src/operator/refill.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { describeOn, type Engine, enginesFor } from '../support/engine-sets.ts'
import { isFull } from '../support/is-full.ts'
import { soonTakenOver } from '../support/patience.ts'
import { runProgram } from '../support/programs.ts'
import { failures, type Received } from '../support/receiver.ts'
import { fixedKeys, type RunningService } from '../support/service.ts'
import { type Client, clientOf, type DeliveryResponse, type Page, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

interface Case {
  readonly title: string
  readonly engines: readonly Engine[]
  /** Whether there is an older backup. Otherwise a new database gets only the table `data_keys`. */
  readonly hasBackup: boolean
}
const cases: readonly Case[] = [
  { title: 'put back to an older backup', engines: ['eventstoredb', 'kafka', 'cassandra'], hasBackup: true },
  { title: 'put back to an older backup, with the history of deliveries', engines: ['eventstoredb', 'kafka'], hasBackup: true },
  { title: 'lost, but for the data keys', engines: ['eventstoredb', 'kafka', 'cassandra'], hasBackup: false },
]

for (const { title, engines, hasBackup } of isFull ? cases : cases.slice(0, 1))
  describeOn(`Postgres ${title}`, engines, () => {
    let database: Lost
    let service: RunningService | undefined
    let api: Client
    before(async () => {
      database = await losable()
    })
    const variables = () => ({
      DATABASE_URL: database.url,
      ...fixedKeys,
      KOLBAK_RETRY_DELAYS: '0.1,3600,3600,3600',
      KOLBAK_LEASE_MS: soonTakenOver.KOLBAK_LEASE_MS,
      KOLBAK_MAX_IN_FLIGHT_PER_WEBHOOK: '1',
      KOLBAK_REQUEST_TIMEOUT_MS: '100000',
      KOLBAK_CLAIM_MS: '120000',
    })
    const services = withServices({ variables })
    const { receiver } = services
    after(() => database.drop())
    const start = async () => {
      service = await services.start()
      api = await clientOf(service.url)
    }
    const operate = async () =>
      runProgram(
        'operator/operate.ts',
        ['refill'],
        services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...(await enginesFor(database.url)) }),
      )
    const refilled = async (): Promise<Refilled> => {
      const { code, out, err } = await operate()
      expect(code, err).to.equal(0)
      return JSON.parse(out) as Refilled
    }

    const subscribe = (path: string, event: string) =>
      api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event, description: `at ${path}` })
    const post = (id: string, event: string, payload: object = { id }) => api.post('/v1/events', { id, event, payload })
    const deliveriesOf = async (webhook: WebhookResponse) =>
      (await api.get<Page<DeliveryResponse>>(`/v1/webhooks/${webhook.id}/deliveries?limit=100`)).data
    const sent = (path: string) => receiver.received(path).map(({ headers }) => `${headers['webhook-id']}/${headers['kolbak-attempt']}`)
    const expectStatuses = (webhook: WebhookResponse, expected: Record<string, string>) =>
      waitFor(
        async () => {
          const statuses = (await deliveriesOf(webhook)).map((d) => [d.event_id, `${d.status} ${d.chain}.${d.attempt_count}`])
          expect(Object.fromEntries(statuses)).to.deep.include(expected)
          return true
        },
        { what: JSON.stringify(expected) },
      )
    const replay = async (webhook: WebhookResponse, event: string) => {
      const delivery = (await deliveriesOf(webhook)).find(({ event_id }) => event_id === event)
      await api.post(`/v1/deliveries/${delivery?.id}/replay`, {})
    }

    it('still sends the waiting deliveries, sends no ended delivery again, and continues as before', async () => {
      await start()
      receiver.setResponse('/down', 503)
      receiver.setResponse('/flaky', 503)
      receiver.setResponse('/former', 503)
      receiver.setResponse('/bad', 400)
      receiver.setResponse('/hangs', failures.hangs)
      const up = await subscribe('/up', 'order.*')
      const down = await subscribe('/down', 'order.*')
      const badWebhook = await subscribe('/bad', 'order.*')
      const flaky = await subscribe('/flaky', 'flaky.*')
      const movedWebhook = await subscribe('/former', 'moved.*')
      const hangs = await subscribe('/hangs', 'slow.*')
      for (const id of ['a0', 'a1']) await post(id, 'order.made')
      await post('f0', 'flaky.made')
      await post('m0', 'moved.made')
      await post('s0', 'slow.made')
      await waitFor(() => receiver.received('/hangs').length === 1) // the request is in flight
      await post('s1', 'slow.made')
      await expectStatuses(up, { a0: 'success 1.1', a1: 'success 1.1' })
      await expectStatuses(badWebhook, { a0: 'failed 1.1', a1: 'failed 1.1' })
      await expectStatuses(down, { a0: 'retrying 1.2', a1: 'retrying 1.2' })
      await expectStatuses(flaky, { f0: 'retrying 1.2' })
      await expectStatuses(movedWebhook, { m0: 'retrying 1.2' })
      await expectStatuses(hangs, { s0: 'pending 1.0', s1: 'pending 1.0' })
      await waitFor(async () => (await database.rows(`select from scheduled_deliveries where due_at is null`)).length === 1)
      await service?.kill('SIGKILL')
      if (hasBackup) await database.backUp()

      // The backup does not contain the changes from here on.
      await start()
      receiver.setResponse('/flaky', 200)
      await database.bringForward(flaky)
      await expectStatuses(flaky, { f0: 'success 1.3' })
      await api.patch(`/v1/webhooks/${movedWebhook.id}`, { callback_url: receiver.url('/moved') })
      await database.bringForward(down)
      await expectStatuses(down, { a0: 'retrying 1.3', a1: 'retrying 1.3' })
      const young = await subscribe('/young', 'order.*')
      for (const id of ['b0', 'b1', 'b2']) await post(id, 'order.made')
      for (const id of ['s2', 's3']) await post(id, 'slow.made')
      await post('a1', 'order.made', { other: 'content' })
      for (const id of ['b0', 'b1', 'b2']) for (const webhook of [up, young]) await expectStatuses(webhook, { [id]: 'success 1.1' })
      await database.bringForward(movedWebhook) // dispatchers have the new URL, because they refresh their webhook cache before each batch
      await expectStatuses(movedWebhook, { m0: 'success 1.3' })
      await replay(up, 'b0')
      await replay(badWebhook, 'b1')
      await expectStatuses(up, { b0: 'success 2.1' })
      await expectStatuses(badWebhook, { b0: 'failed 1.1', b1: 'failed 2.1', b2: 'failed 1.1' })
      await expectStatuses(down, { b0: 'retrying 1.2', b1: 'retrying 1.2', b2: 'retrying 1.2' })
      await expectStatuses(hangs, { s2: 'pending 1.0', s3: 'pending 1.0' })
      await waitFor(async () => (await database.rows(`select from scheduled_deliveries where due_at is null`)).length >= 3)
      const rejections = async () => (await api.get<{ data: { rejections: unknown[] } }>('/v1/events/a1')).data.rejections
      await waitFor(async () => (await rejections()).length === 1)
      const history = async () =>
        Object.fromEntries(
          await Promise.all([up, badWebhook, flaky, movedWebhook, young].map(async (w) => [w.callback_url, await deliveriesOf(w)])),
        )
      const historyBefore = { history: await history(), rejections: await rejections() }
      await service?.kill('SIGKILL')
      const stood = await database.state()
      const before = { received: receiver.received().length, down: sent('/down') }

      await database.putBack()
      expect(await database.state()).not.to.deep.equal(stood)
      const first = await refilled()
      console.log(`      ${JSON.stringify(first)}`)
      const withoutFirst = (state: typeof stood) => ({ ...state, scheduled: state.scheduled.filter(({ message }) => message !== 's0') })
      // A message that was in progress at the backup may come again from Kafka. So its row is left out of the comparison.
      expect(withoutFirst(await database.state())).to.deep.equal(withoutFirst(stood))
      expect(first.messages).to.equal(hasBackup ? 5 : 11)
      const once = await database.state()
      expect(await refilled()).to.deep.include({ events: 0, messages: 0, parked: 0, owed: first.owed })
      expect(await database.state()).to.deep.equal(once)

      // Every waiting delivery arrives when it is due, with the number of its next attempt. No other request arrives.
      const [due] = await database.rows<{ early: number }>(`
        select count(*)::int as early from scheduled_deliveries where due_at < clock_timestamp() + interval '6 minutes'`)
      expect(due?.early).to.equal(0)
      await database.bringForward(down)
      receiver.setResponse('/down', 200)
      receiver.setResponse('/hangs', 200)
      await start()
      await waitFor(async () => (await deliveriesOf(hangs)).every(({ status }) => status === 'success'))
      await expectStatuses(down, { a0: 'success 1.4', a1: 'success 1.4', b0: 'success 1.3', b1: 'success 1.3', b2: 'success 1.3' })
      expect({ history: await history(), rejections: await rejections() }).to.deep.equal(historyBefore)

      // The ids of messages after the backup are still known, so a repetition is dropped.
      await post('b2', 'order.made')
      await post('z0', 'order.made')
      for (const webhook of [up, young, down]) await expectStatuses(webhook, { z0: 'success 1.1' })
      await waitFor(async () => (await database.rows('select from scheduled_deliveries')).length === 0)
      const since = receiver.received().slice(before.received)
      // A parked delivery may be claimed from the table while its record comes again from Kafka. It may then be sent twice, as after a crash.
      const isFirst = (name: string, i: number, all: readonly string[]) => !name.startsWith('/hangs') || all.indexOf(name) === i
      expect(since.map(nameOf).filter(isFirst).sort()).to.deep.equal(
        [
          ...['a0/4', 'a1/4', 'b0/3', 'b1/3', 'b2/3', 'z0/1'].map((name) => `/down ${name}`),
          ...['s0/1', 's1/1', 's2/1', 's3/1'].map((name) => `/hangs ${name}`),
          ...['/up', '/young', '/bad'].map((path) => `${path} z0/1`),
        ].sort(),
      )
      expect(before.down).to.have.length(12)

      const running = await operate()
      expect(running.code).to.equal(1)
      expect(running.err).to.include('still_running')
      await service?.kill('SIGTERM')
      const intact = await database.state()
      expect(await refilled()).to.deep.equal({ events: 0, messages: 0, parked: 0, bodies: 0, owed: 0 })
      expect(await database.state()).to.deep.equal(intact)
    })
  })

describe('kolbak refill', () => {
  it('refuses to run when the events are in the restored database too', async () => {
    const refused = await refill(readConfig({}), silentLog).catch((error: unknown) => error)
    expect(refused).to.include({ code: 'nothing_to_refill' })
  })
})

const nameOf = ({ path, headers }: Received) => `${path} ${headers['webhook-id']}/${headers['kolbak-attempt']}`

/** Creates a database that a test can restore from a backup, or lose. */
async function losable() {
  const db: TestDatabase = await freshDatabase()
  const name = new URL(db.url).pathname.slice(1)
  const withDatabase = async <T>(database: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({ connectionString: Object.assign(new URL(db.url), { pathname: `/${database}` }).href })
    await client.connect()
    try {
      return await work(client)
    } finally {
      await client.end()
    }
  }
  let backup: string | null = null
  const rows = <R extends pg.QueryResultRow>(text: string) => withDatabase(name, async (client) => (await client.query<R>(text)).rows)
  /** Copies a database. It retries, because Postgres copies no database that is in use, and notices the death of a process only after a moment. */
  const copy = (from: string, to: string) =>
    waitFor(() => withDatabase('postgres', async (admin) => (await admin.query(`create database ${to} template ${from}`)) && true))
  return {
    url: db.url,
    rows,
    async backUp() {
      backup = `${name}_backup`
      await copy(name, backup)
    },
    /** Makes the webhook's retries due now. */
    bringForward: (webhook: WebhookResponse) =>
      rows(`update scheduled_deliveries set due_at = clock_timestamp() where webhook = '${webhook.id}' and due_at is not null`),
    /** Restores the backup together with the present data keys. Its leases and claims are removed, because those processes have ended. */
    async putBack() {
      const keys = await rows<{ id: number; owner: string; purpose: string; wrapped: Buffer }>('select * from data_keys')
      await withDatabase('postgres', (admin) => admin.query(`drop database ${name} with (force)`))
      await copy(backup ?? 'kolbak_template', name)
      await withDatabase(name, async (client) => {
        await client.query('delete from data_keys; delete from live_processes; delete from leases')
        await client.query('update scheduled_deliveries set claimed_until = null, claimed_by = null')
        for (const { id, owner, purpose, wrapped } of keys)
          await client.query('insert into data_keys (id, owner, purpose, wrapped) overriding system value values ($1, $2, $3, $4)', [
            ...[id, owner, purpose, wrapped],
          ])
        await client.query(`select setval(pg_get_serial_sequence('data_keys', 'id'), (select max(id) from data_keys))`)
      })
    },
    /** Returns the rows outside the projections that a restore must not change. */
    async state() {
      const [index, rejections, health, scheduled] = await Promise.all([
        rows('select * from message_index order by tenant, message'),
        rows('select * from message_rejections order by place'),
        rows('select * from webhook_health order by webhook, revision'),
        rows<{ message: string }>(
          'select message, chain, attempt, due_at is null as parked from scheduled_deliveries order by message, webhook',
        ),
      ])
      return { index, rejections, health, scheduled }
    },
    async drop() {
      if (backup !== null) await withDatabase('postgres', (admin) => admin.query(`drop database ${backup} with (force)`))
      await db.drop()
    },
  }
}
type Lost = Awaited<ReturnType<typeof losable>>
