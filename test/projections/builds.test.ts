import { expect } from 'chai'
import { ulid } from 'ulid'
import type { WebhookId } from '../../src/events/ids.ts'
import { codeOf } from '../../src/lib/errors.ts'
import { createLeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import { findKeyByValue } from '../../src/projections/api-keys.ts'
import { commonCheckpoint, installProjections, listBuilds, rebuild } from '../../src/projections/builds.ts'
import { goLive } from '../../src/projections/go-live.ts'
import type { Projection } from '../../src/projections/projection.ts'
import { startProjection } from '../../src/projections/runner.ts'
import { findTenant } from '../../src/projections/tenants.ts'
import { createProjectionProgress } from '../../src/projections/waiter.ts'
import { type ChangeCursor, changedSince, findWebhook, listWebhooks, webhooks } from '../../src/projections/webhooks.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { wholeShare } from '../support/lease-shares.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'
import { waitFor } from '../support/wait-for.ts'
import { projectionWorld, type World } from './world.ts'

const counted = (changes: Partial<Projection> = {}): Projection => ({
  name: 'counted',
  version: 1,
  families: ['tenant'],
  tables: 'create table counted (n integer not null)',
  views: ['counted'],
  apply: async (sql, events) => void (await sql`insert into counted select 1 from generate_series(1, ${events.length})`),
  ...changes,
})
const manager = (version: number): Projection => ({ name: 'manager', version, families: ['tenant'], apply: async () => {} })
/** A `catchUp` that never succeeds. */
const never = async () => false
const codeOfFailure = (work: Promise<unknown>): Promise<string | undefined> => work.then(() => 'nothing failed', codeOf)

describe('builds of a projection', () => {
  let db: TestDatabase
  beforeEach(async () => {
    db = await freshDatabase()
  })
  afterEach(() => db.drop())
  const numbers = async (name = 'counted') =>
    (await listBuilds(db.pool, name)).map(({ build, version, is_live }) => ({ build, version, is_live }))
  const schemas = async () =>
    (await db.pool.query(`select nspname from pg_namespace where nspname like 'projection_%' order by nspname`)).rows.map(
      (row) => row.nspname,
    )

  it('are installed once by processes that start together, and readers find their views at once', async () => {
    await Promise.all(Array.from({ length: 5 }, () => installProjections(db.pool, [counted(), manager(1)])))
    expect(await numbers()).to.deep.equal([{ build: 1, version: 1, is_live: true }])
    expect(await numbers('manager')).to.deep.equal([{ build: 1, version: 1, is_live: true }])
    expect(await schemas()).to.deep.equal(['projection_counted_1'])
    expect((await db.pool.query('select * from counted')).rows).to.deep.equal([])
  })
  it('are added beside the live build for a higher version, and not for a lower one', async () => {
    await installProjections(db.pool, [counted()])
    await installProjections(db.pool, [counted({ version: 2 })])
    await installProjections(db.pool, [counted({ version: 2 })])
    await installProjections(db.pool, [counted()])
    expect(await numbers()).to.deep.equal([
      { build: 1, version: 1, is_live: true },
      { build: 2, version: 2, is_live: false },
    ])
  })
  it('are not made for a projection without tables, whose new version continues at the checkpoint', async () => {
    await installProjections(db.pool, [manager(1)])
    await db.pool.query(`update projections set checkpoint = '5'`)
    await installProjections(db.pool, [manager(2)])
    expect(await listBuilds(db.pool, 'manager')).to.deep.equal([
      { name: 'manager', build: 1, version: 2, checkpoint: '5', is_live: true, quarantined: 0 },
    ])
    expect(await codeOfFailure(rebuild(db.pool, manager(2)))).to.equal('not_rebuildable')
  })
  it('are started once: a rebuild in progress is not started again', async () => {
    await installProjections(db.pool, [counted()])
    expect(await Promise.all([rebuild(db.pool, counted()), rebuild(db.pool, counted())])).to.deep.equal([2, 2])
    expect(await schemas()).to.deep.equal(['projection_counted_1', 'projection_counted_2'])
    await goLive(db.pool, counted(), 2, never)
    expect(await rebuild(db.pool, counted())).to.equal(3)
  })
  it('go live only when they have caught up with the live build, which stands still meanwhile', async () => {
    await installProjections(db.pool, [counted()])
    const build = await rebuild(db.pool, counted())
    await db.pool.query(`update projections set checkpoint = '5' where build = 1`)
    expect(await goLive(db.pool, counted(), build, async () => false)).to.equal(false)
    const catchUpPartly = async () => {
      await db.pool.query(`update projections set checkpoint = '4' where build = 2`)
      return true
    }
    expect(await goLive(db.pool, counted(), build, catchUpPartly)).to.equal(false)
    const moveLive = () => db.pool.query(`set local lock_timeout = '50ms'; update projections set checkpoint = '6' where build = 1`)
    const caughtUp = async (to: string | null) => {
      expect(to).to.equal('5')
      expect(await codeOfFailure(moveLive())).to.equal('55P03')
      await db.pool.query('update projections set checkpoint = $1 where build = 2', [to])
      return true
    }
    expect(await goLive(db.pool, counted(), build, caughtUp)).to.equal(true)
    expect((await numbers()).map(({ is_live }) => is_live)).to.deep.equal([false, true])
  })
  it('do not go live when they are dropped or older than the live build', async () => {
    await installProjections(db.pool, [counted()])
    expect(await goLive(db.pool, counted(), 99, never)).to.equal(false)
    expect(await goLive(db.pool, counted(), await rebuild(db.pool, counted()), never)).to.equal(true)
    expect(await goLive(db.pool, counted(), 1, never)).to.equal(false)
    expect((await numbers()).map(({ is_live }) => is_live)).to.deep.equal([false, true])
  })
  it('fail to go live while a reader locks the views, so that they do not block other readers', async () => {
    await installProjections(db.pool, [counted()])
    const build = await rebuild(db.pool, counted())
    const reader = await db.pool.connect()
    try {
      await reader.query('begin; select * from counted')
      expect(await codeOfFailure(goLive(db.pool, counted(), build, never))).to.equal('55P03')
      await reader.query('commit')
      expect(await goLive(db.pool, counted(), build, never)).to.equal(true)
    } finally {
      reader.release()
    }
  })
  it('may have other columns than the former build; if the columns are the same, objects that depend on the view stay', async () => {
    await installProjections(db.pool, [counted()])
    await db.pool.query('create view of_an_operator as select count(*) from counted')
    expect(await goLive(db.pool, counted(), await rebuild(db.pool, counted()), never)).to.equal(true)
    expect((await db.pool.query('select * from of_an_operator')).rows).to.deep.equal([{ count: 0n }])
    await db.pool.query('drop view of_an_operator')
    const wider = counted({ version: 2, tables: 'create table counted (other text, n integer not null)' })
    await installProjections(db.pool, [wider])
    expect(await goLive(db.pool, wider, 3, never)).to.equal(true)
    expect((await db.pool.query('select other, n from counted')).rows).to.deep.equal([])
  })
  it('have a common checkpoint, which is the lowest of theirs, unless a build has no checkpoint', async () => {
    await installProjections(db.pool, [counted(), manager(1)])
    const passed = () => commonCheckpoint(db.pool, [counted(), manager(1)])
    await db.pool.query(`update projections set checkpoint = '7' where name = 'counted'`)
    expect(await passed()).to.equal(null)
    await db.pool.query(`update projections set checkpoint = '5' where name = 'manager'`)
    expect(await passed()).to.equal('5')
    await rebuild(db.pool, counted())
    expect(await passed()).to.equal(null)
  })
  it('of newer code are not changed by older code, which reports them', async () => {
    await installProjections(db.pool, [counted({ version: 2 })])
    const store = memoryEventStore()
    const leases = createLeaseKeeper({ pool: db.pool, owner: 'old', leaseMs: 60_000, onError() {} })
    const old = startProjection(
      { store, pool: db.pool, shares: wholeShare(db.pool, leases), progress: createProjectionProgress(), log: silentLog, refreshMs: 20 },
      counted(),
    )
    try {
      await waitFor(() => old.status().error === 'newer_version')
      expect(old.status()).to.include({ state: 'failed', building: null })
      await store.append('tenant-x', [], 'any')
      expect(await numbers()).to.deep.equal([{ build: 1, version: 2, is_live: true }])
    } finally {
      await old.stop()
      await leases.close()
    }
  })
})

describe('the read models, rebuilt repeatedly with readers and writers at work,', () => {
  let world: World
  before(async () => {
    world = await projectionWorld()
  })
  after(() => world.stop())

  it('fail no read, never show less than before, and have the same rows at the end', async () => {
    const { pool } = world.db
    const deps = { pool, keyring: world.keyring, log: silentLog }
    const tenant = await world.newTenant()
    const { id: key_id, key } = await world.newKey(tenant)
    const old = await world.newWebhook(tenant)
    const rounds = 4
    let isDone = false
    const reads = { count: 0 }
    const repeat = async (read: () => Promise<void>) => {
      while (!isDone) {
        await read()
        reads.count++
      }
    }
    let total = 1
    let revision = 0
    const revisions = new Map<WebhookId, number>()
    let cursor: ChangeCursor | null = null
    const look = async () => {
      const changes = await changedSince(pool, cursor)
      for (const webhook of changes.webhooks) {
        expect(webhook.revision, webhook.id).to.be.at.least(revisions.get(webhook.id) ?? 0)
        revisions.set(webhook.id, webhook.revision)
      }
      cursor = changes.cursor
    }
    const readers = [
      repeat(async () => {
        const page = await listWebhooks(deps, { tenant, limit: 100, offset: 0 })
        expect(page.total).to.equal(page.rows.length).and.to.be.at.least(total)
        total = page.total
      }),
      repeat(async () => {
        const row = await findWebhook(deps, { tenant }, old.id)
        expect(row?.revision).to.be.at.least(revision)
        revision = row?.revision ?? 0
      }),
      repeat(async () => {
        const now = new Date().toISOString()
        expect(await findKeyByValue(deps, key, now)).to.include({ id: key_id, tenant })
        expect(await findTenant(pool, tenant)).to.include({ id: tenant })
      }),
      repeat(look),
    ]
    const created: WebhookId[] = [old.id]
    const writer = (async () => {
      for (let i = 0; !isDone && created.length < 80; i++) {
        // Each webhook is read right after its command returned. The read model must have it, even during a rebuild.
        const { id } = await world.newWebhook(tenant)
        created.push(id)
        expect(await findWebhook(deps, { tenant }, id)).to.include({ revision: 0 })
        const { revision: changed } = await world.webhook(tenant, old.id, { type: 'ChangeWebhook', description: `change ${i}` })
        expect(await findWebhook(deps, { tenant }, old.id)).to.include({ revision: changed })
      }
    })()
    for (let round = 0; round < rounds; round++) {
      const build = await rebuild(pool, webhooks)
      await waitFor(async () => (await listBuilds(pool, 'webhooks')).some((row) => row.build === build && row.is_live))
    }
    isDone = true
    await Promise.all([...readers, writer])
    await look()
    expect(reads.count).to.be.greaterThan(50)
    const { rows } = await listWebhooks(deps, { tenant, limit: 100, offset: 0 })
    expect(rows.map((row) => row.id)).to.have.members(created)
    expect([...revisions.keys()]).to.have.members(created)
    expect(revisions.get(old.id)).to.equal((await world.store.read(`webhook-${old.id}`)).at(-1)?.revision)
    await waitFor(async () => (await listBuilds(pool, 'webhooks')).length === 1)
    const schemas = await pool.query(`select nspname from pg_namespace where nspname like 'projection_webhooks%'`)
    expect(schemas.rows).to.deep.equal([{ nspname: `projection_webhooks_${rounds + 1}` }])
  })
  it('return all rows again to a reader of changes, because rows before its cursor may have changed', async () => {
    const { pool } = world.db
    const tenant = await world.newTenant()
    const { id } = await world.newWebhook(tenant)
    const { cursor } = await changedSince(pool, null)
    // This row is wrong, and a rebuild corrects it.
    await pool.query('update webhook_subscriptions set event = $2 where id = $1', [id, `wrong ${ulid()}`])
    expect((await changedSince(pool, cursor)).webhooks).to.deep.equal([])
    const build = await rebuild(pool, webhooks)
    await waitFor(async () => (await listBuilds(pool, 'webhooks')).some((row) => row.build === build && row.is_live))
    const changesAgain = await changedSince(pool, cursor)
    expect(changesAgain.webhooks.find((webhook) => webhook.id === id)).to.include({ event: 'order.created' })
    expect((await changedSince(pool, changesAgain.cursor)).webhooks).to.deep.equal([])
  })
})
