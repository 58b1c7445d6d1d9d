import { expect } from 'chai'
import { joinLiveProcesses, type LiveProcesses } from '../../src/lib/live-processes.ts'
import { noNotices } from '../../src/lib/notices.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { waitFor } from '../support/wait-for.ts'

describe('live processes', () => {
  let db: TestDatabase
  const started: LiveProcesses[] = []
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  afterEach(async () => {
    for (const processes of started.splice(0)) await processes.close()
    await db.pool.query('delete from live_processes')
  })
  const start = async (id: string, roles: string[]) => {
    const processes = await joinLiveProcesses({
      pool: db.pool,
      id,
      roles,
      notices: noNotices,
      everyMs: 200,
      onError(error) {
        throw error
      },
    })
    started.push(processes)
    return processes
  }

  it('are counted by role, and each process counts itself from the start', async () => {
    const a = await start('a', ['api', 'dispatcher'])
    expect(a.count('api')).to.equal(1)
    const b = await start('b', ['dispatcher'])
    expect(b.count('dispatcher')).to.equal(2)
    expect(b.count('api')).to.equal(1)
    await waitFor(() => a.count('dispatcher') === 2)
    expect(a.count('api')).to.equal(1)
  })
  it('number at least one, so that a limit can be divided by them', async () => {
    const a = await start('a', ['api'])
    expect(a.count('dispatcher')).to.equal(1)
  })
  it('are not counted after they have closed or stopped sending heartbeats', async () => {
    const a = await start('a', ['api'])
    const b = await start('b', ['api'])
    await db.pool.query(`insert into live_processes (id, roles, seen_at) values ('dead', '{api}', clock_timestamp())`)
    await waitFor(() => a.count('api') === 3)
    await waitFor(() => a.count('api') === 2, { what: 'the silent process to be forgotten' })
    await b.close()
    await waitFor(() => a.count('api') === 1)
  })
  it('are not counted once they have announced that they stop, although they are still alive', async () => {
    const a = await start('a', ['projector'])
    const b = await start('b', ['projector'])
    await waitFor(() => a.count('projector') === 2)
    b.withdraw()
    await waitFor(() => a.count('projector') === 1)
    expect(a.isAlone).to.equal(false)
  })
})
