import { expect } from 'chai'
import { type DueDeps, deliverScheduled } from '../../src/dispatch/due.ts'
import { createSchedule } from '../../src/dispatch/schedule.ts'
import type { Slots } from '../../src/dispatch/slots.ts'
import { StageHealth } from '../../src/dispatch/stage-health.ts'
import type { CachedWebhook, WebhookCache } from '../../src/dispatch/webhook-cache.ts'
import type { TenantId, WebhookId } from '../../src/events/ids.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createWake } from '../../src/lib/wake.ts'
import { releaseDeadOwners } from '../../src/service/release-dead-owners.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { owed } from '../support/owed.ts'
import { waitFor } from '../support/wait-for.ts'

/** Returns the tenant of a webhook. Each webhook has its own tenant. */
const tenantOf = (webhook: WebhookId) => webhook as string as TenantId

/** The dependencies that all tests share. */
const common = (): Pick<
  DueDeps,
  'deliveryLog' | 'historyCatchUp' | 'stageHealth' | 'log' | 'claimMs' | 'requestMs' | 'wake' | 'pollMs' | 'restMs'
> => ({
  deliveryLog: {
    states: async (keys) => keys.map(() => null),
    bodies: async (keys) => keys.map(() => Buffer.from('{}')),
  },
  historyCatchUp: { reachHead: () => Promise.reject(new Error('no claim has run out')) },
  stageHealth: new StageHealth(silentLog),
  log: silentLog,
  claimMs: 60_000,
  requestMs: 1_000,
  wake: createWake(),
  pollMs: 10,
  restMs: () => 2_000,
})

/** Returns dependencies with an active webhook that has a slot for one row. */
const oneRowOf = (webhook: WebhookId): Pick<DueDeps, 'webhookCache' | 'slots'> => ({
  webhookCache: {
    refreshIfOld: async () => {},
    refresh: async () => {},
    get: () => ({ tenant: tenantOf(webhook) }) as CachedWebhook,
    isSuspended: () => false,
  } as Partial<WebhookCache> as WebhookCache,
  slots: { claimableRows: () => 1, setParkedWebhooks() {} } as Partial<Slots> as Slots,
})

describe('claiming scheduled deliveries', () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())

  it('informs the slots about every webhook with parked rows, even if one webhook fills a whole claim', async () => {
    const schedule = createSchedule({ pool: db.pool, owner: 'me', claimMs: 60_000 })
    const [many, ...others] = ['A', 'B', 'C'].map((end) => `01ARZ3NDEKTSV4RRFFQ69G5FA${end}` as WebhookId) as [WebhookId, ...WebhookId[]]
    await Promise.all(
      [...Array.from({ length: 600 }, () => many), ...others].map((webhook) => schedule.park(owed({ webhook, tenant: tenantOf(webhook) }))),
    )

    const parkedSets: ReadonlySet<WebhookId>[] = []
    const delivered = new Map<WebhookId, number>()
    let firstCountOfMany: number | undefined
    const stop = new AbortController()
    const over = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()))
    const running = deliverScheduled(
      {
        ...common(),
        schedule,
        webhookCache: {
          refreshIfOld: async () => {},
          refresh: async () => {},
          get: (webhook: WebhookId) => ({ tenant: tenantOf(webhook) }) as CachedWebhook,
          isSuspended: () => false,
        } as Partial<WebhookCache> as WebhookCache,
        slots: {
          claimableRows: () => 1_000,
          setParkedWebhooks(webhooks: ReadonlySet<WebhookId>) {
            parkedSets.push(new Set(webhooks))
            if (delivered.size === 3) firstCountOfMany ??= delivered.get(many)
          },
        } as Partial<Slots> as Slots,
        async deliver({ webhook }) {
          delivered.set(webhook, (delivered.get(webhook) ?? 0) + 1)
          await over
          return 'done'
        },
      },
      stop.signal,
    )
    try {
      await waitFor(() => parkedSets.length >= 3 && firstCountOfMany !== undefined)
    } finally {
      stop.abort()
      await running
    }
    // A tenant at its limit leaves the remaining rows to other tenants.
    expect(firstCountOfMany).to.equal(500)
    for (const webhooks of parkedSets) expect([...webhooks].sort()).to.deep.equal([many, ...others])
  })

  it('gives each webhook of a tenant its share, and delivers nothing before a refresh that started after the claim', async () => {
    await db.pool.query('truncate scheduled_deliveries')
    const schedule = createSchedule({ pool: db.pool, owner: 'me', claimMs: 60_000 })
    const webhooks = ['D', 'E', 'F', 'G', 'H'].map((end) => `01ARZ3NDEKTSV4RRFFQ69G5FA${end}` as WebhookId)
    const tenant = tenantOf(webhooks[0]!)
    await Promise.all(webhooks.flatMap((webhook) => Array.from({ length: 400 }, () => schedule.park(owed({ webhook, tenant })))))
    const inProgress = new Map<WebhookId, number>()
    let isClaimed = false
    let refreshesAfterClaim = 0
    const stop = new AbortController()
    const over = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve()))
    const running = deliverScheduled(
      {
        ...common(),
        schedule: {
          ...schedule,
          async claim(allotments) {
            const rows = await schedule.claim(allotments)
            isClaimed ||= rows.length > 0
            return rows
          },
        },
        webhookCache: {
          refreshIfOld: async () => {},
          async refresh() {
            if (isClaimed) refreshesAfterClaim++
          },
          get: () => ({ tenant }) as CachedWebhook,
          isSuspended: () => false,
        } as Partial<WebhookCache> as WebhookCache,
        slots: { claimableRows: () => 300, setParkedWebhooks() {} } as Partial<Slots> as Slots,
        async deliver({ webhook }) {
          expect(refreshesAfterClaim).to.be.greaterThan(0)
          inProgress.set(webhook, (inProgress.get(webhook) ?? 0) + 1)
          await over
          return 'done'
        },
      },
      stop.signal,
    )
    try {
      await waitFor(() => [...inProgress.values()].reduce((sum, n) => sum + n, 0) === 500)
    } finally {
      stop.abort()
      await running
    }
    expect([...inProgress.values()]).to.deep.equal(webhooks.map(() => 100))
  })

  it('waits for the delivery history before it sends a row whose claim ran out, because its request may have been sent already', async () => {
    await db.pool.query('truncate scheduled_deliveries')
    const webhook = '01ARZ3NDEKTSV4RRFFQ69G5FAK' as WebhookId
    const killed = createSchedule({ pool: db.pool, owner: 'killed', claimMs: 60_000 })
    await killed.park(owed({ webhook, tenant: tenantOf(webhook) }))
    expect(await killed.claim([{ webhook, count: 1 }])).to.have.length(1)
    await releaseDeadOwners(db.pool, { owner: 'killed' })
    const calls: string[] = []
    const stop = new AbortController()
    const { deliveryLog, ...others } = common()
    const running = deliverScheduled(
      {
        ...others,
        schedule: createSchedule({ pool: db.pool, owner: 'me', claimMs: 60_000 }),
        historyCatchUp: { reachHead: async () => void calls.push('the history is whole') },
        deliveryLog: {
          ...deliveryLog,
          async states(keys) {
            calls.push('the states are read')
            return keys.map(() => null)
          },
        },
        ...oneRowOf(webhook),
        async deliver() {
          calls.push('the request is sent')
          stop.abort()
          return 'done'
        },
      },
      stop.signal,
    )
    await running
    expect(calls).to.deep.equal(['the history is whole', 'the states are read', 'the request is sent'])
  })

  it('claims a row when it becomes due, although nothing announces it, and reads the table seldom until then', async () => {
    await db.pool.query('truncate scheduled_deliveries')
    const schedule = createSchedule({ pool: db.pool, owner: 'me', claimMs: 60_000 })
    const webhook = '01ARZ3NDEKTSV4RRFFQ69G5FAJ' as WebhookId
    await schedule.park(owed({ webhook, tenant: tenantOf(webhook) }))
    await db.pool.query(`update scheduled_deliveries set parked_at = null, due_at = clock_timestamp() + interval '900 ms'`)
    let passes = 0
    let lateness: number | undefined
    const stop = new AbortController()
    const running = deliverScheduled(
      {
        ...common(),
        pollMs: 200,
        schedule: {
          ...schedule,
          waiting(...page) {
            passes++
            return schedule.waiting(...page)
          },
        },
        ...oneRowOf(webhook),
        async deliver(row) {
          const { rows } = await db.pool.query<{ ms: number }>(
            'select (extract(epoch from clock_timestamp() - due_at) * 1000)::double precision as ms from scheduled_deliveries',
          )
          lateness = rows[0]!.ms
          await schedule.done(row)
          return 'done'
        },
      },
      stop.signal,
    )
    try {
      await waitFor(() => lateness !== undefined)
    } finally {
      stop.abort()
      await running
    }
    expect(lateness).to.be.within(0, 1_000)
    expect(passes).to.be.at.most(3)
  })
})
