import { expect } from 'chai'
import pg from 'pg'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { silentLog } from '../../src/lib/log.ts'
import { openNotices, type Topic } from '../../src/lib/notices.ts'
import { capturingLog } from '../support/capturing-log.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

type Opened = ReturnType<typeof openNotices>

describe('notices between processes', () => {
  let db: TestDatabase
  const pools: pg.Pool[] = []
  const openNoticesOfTest: Opened[] = []
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  afterEach(async () => {
    for (const notices of openNoticesOfTest.splice(0)) await notices.close()
    for (const pool of pools.splice(0)) await pool.end()
  })
  const newPool = () => {
    const pool = createPool({ url: db.url, name: 'notices', max: 2, log: silentLog })
    pools.push(pool)
    return pool
  }
  const open = async (id: string, { isAlone = () => false }: { isAlone?: () => boolean } = {}) => {
    const notices = openNotices({ pool: newPool(), id, log: silentLog, isAlone })
    openNoticesOfTest.push(notices)
    await waitFor(() => notices.pollMs >= 2_000, { what: 'notices to be heard' })
    return notices
  }
  const countOf = (notices: Opened, topic: Topic) => {
    let count = 0
    notices.on(topic, () => count++)
    return () => count
  }
  /** Listens as any client of Postgres can, and returns the payloads. */
  const eavesdrop = async () => {
    const client = new pg.Client({ connectionString: db.url })
    await client.connect()
    const payloads: string[] = []
    client.on('notification', ({ payload }) => payloads.push(payload ?? ''))
    await client.query('listen kolbak')
    return { payloads, end: () => client.end() }
  }

  it('reach the listeners of the other processes, and not those of the sender', async () => {
    const [firstNotices, secondNotices] = [await open('one'), await open('two')]
    const [ownCount, otherCount, otherTopicCount] = [
      countOf(firstNotices, 'events'),
      countOf(secondNotices, 'events'),
      countOf(secondNotices, 'messages'),
    ]
    firstNotices.tellOthers('events')
    await waitFor(() => otherCount() === 1)
    firstNotices.tellOthers('messages')
    await waitFor(() => otherTopicCount() === 1)
    expect([ownCount(), otherCount()]).to.deep.equal([0, 1])
  })
  it('reach the listeners of the sender too with `tell`, at once', async () => {
    const [firstNotices, secondNotices] = [await open('one'), await open('two')]
    const [ownCount, otherCount] = [countOf(firstNotices, 'jobs'), countOf(secondNotices, 'jobs')]
    firstNotices.tell('jobs')
    expect(ownCount()).to.equal(1)
    await waitFor(() => otherCount() === 1)
  })
  it('are not sent while the process is alone, except those of new processes', async () => {
    const { payloads, end } = await eavesdrop()
    const alone = await open('alone', { isAlone: () => true })
    alone.tell('events')
    alone.tellOthers('messages')
    alone.tellOthers('processes')
    await waitFor(() => payloads.includes('alone processes'))
    expect(payloads).to.deep.equal(['alone ', 'alone processes'])
    await end()
  })
  it('are gathered, so that a thousand of them cost few statements', async () => {
    const secondNotices = await open('two')
    const count = countOf(secondNotices, 'messages')
    const { payloads, end } = await eavesdrop()
    const firstNotices = await open('one')
    for (let i = 0; i < 1_000; i++) firstNotices.tellOthers(i % 2 === 0 ? 'events' : 'messages')
    await waitFor(() => count() > 0)
    firstNotices.tellOthers('jobs')
    await waitFor(() => payloads.at(-1) === 'one jobs')
    expect(payloads.length).to.be.lessThan(5)
    await end()
  })
  it('let the readers of a lonely process query seldom, and call all of them when another process starts', async () => {
    let isAlone = true
    const one = await open('one', { isAlone: () => isAlone })
    const [events, messages] = [countOf(one, 'events'), countOf(one, 'messages')]
    expect(one.pollMs).to.equal(10_000)
    const two = await open('two')
    isAlone = false
    two.tellOthers('processes')
    await waitFor(() => events() === 1 && messages() === 1)
    expect(one.pollMs).to.equal(2_000)
  })
  it('are missed while the connection is cut: listeners are called, readers query every 50 ms, and then notices arrive again', async () => {
    const [firstNotices, secondNotices] = [await open('one'), await open('two')]
    const count = countOf(secondNotices, 'schedule')
    const polls: number[] = []
    secondNotices.on('schedule', () => polls.push(secondNotices.pollMs))
    const cut = await db.pool.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and query like 'select pg_notify%'`)
    expect(cut.rowCount).to.equal(2)
    await waitFor(() => count() > 0, { what: 'the listeners to be called' })
    expect(polls[0]).to.equal(50)
    await waitFor(() => firstNotices.pollMs === 2_000 && secondNotices.pollMs === 2_000, { what: 'notices to be heard again' })
    const before = count()
    firstNotices.tellOthers('schedule')
    await waitFor(() => count() > before)
  })
  it('that never arrive, as behind some poolers, cause a warning, and readers query every 50 ms', async () => {
    const log = capturingLog()
    const pool = newPool()
    const connect = pool.connect.bind(pool)
    Object.assign(pool, {
      async connect() {
        const client = await connect()
        const onEvent = client.on.bind(client)
        Object.assign(client, {
          on: (name: string, listener: () => void) => (name === 'notification' ? client : onEvent(name as 'error', listener)),
        })
        return client
      },
    })
    const deaf = openNotices({ pool, id: 'deaf', log, isAlone: () => false, echoMs: 100 })
    openNoticesOfTest.push(deaf)
    await waitFor(() => log.lines.some((line) => line.includes('notices.not_received')))
    expect(deaf.pollMs).to.equal(50)
  })
})
