import { createOffsets } from '../dispatch/offsets.ts'
import type { TenantId } from '../events/ids.ts'
import type { DeactivationReason } from '../events/webhook.ts'
import { sqlOn } from '../lib/sql.ts'
import { createLiveDeliveryLog } from '../projections/live-delivery-log.ts'
import { unread } from './engine-checks.ts'
import type { Shared } from './shared.ts'

/** The most rows that are counted. A number that is equal to it may be too low. */
export const maxCounted = 100_000
/** The most webhooks whose retries are searched for the oldest due one. */
const maxSearched = 10_000
/** Milliseconds for which a result is used again, so that frequent scrapes of several collectors cost no more than one. */
const freshMs = 5_000
/** Milliseconds for which the number of dead letters is used again, on an engine that can only list them. */
const listedFreshMs = 30_000

/** A process counts as live for this many milliseconds after its last heartbeat (`joinLiveProcesses`). */
export const liveMs = 6_000

/** The work that is not done, in the whole service. Every process reports the same numbers, except for `oldestRecordSeconds` on a bus without `oldest`. */
export interface Backlog {
  /** Records of the bus that are not done. */
  unread(): Promise<number>
  /** Seconds since the oldest record that is not done was accepted. It is 0 if every record is done. */
  oldestRecordSeconds(): Promise<number>
  scheduled(): Promise<Scheduled>
  /** Deliveries that ended in failure and were not replayed since then, up to `maxCounted`. */
  deadLetters(): Promise<number>
  webhooks(): Promise<WebhookCounts>
  leases(): Promise<LeaseCounts>
  /** Streams that are quarantined, by projection. */
  quarantined(): Promise<readonly { readonly projection: string; readonly count: number }[]>
  runningJobs(): Promise<number>
  /** The number of live processes of each role. */
  processes(): Promise<Readonly<Record<string, number>>>
}
export interface Scheduled {
  /** Deliveries with a next attempt, up to `maxCounted`. */
  readonly retrying: number
  /** Seconds since the oldest retry became due. It is 0 if no retry is due. The retries of suspended tenants do not count. */
  readonly oldestDueSeconds: number
  /** Parked deliveries by the reason why they wait, together up to `maxCounted`. */
  readonly parked: Readonly<Record<ParkedReason, number>>
}
/** `slot`: the delivery waits for a slot. `tenant_suspended`: it waits until its tenant is resumed. */
export type ParkedReason = 'slot' | 'tenant_suspended'
export interface WebhookCounts {
  readonly active: number
  /** Active webhooks whose last request failed. */
  readonly failing: number
  readonly deactivated: Readonly<Record<DeactivationReason, number>>
}
export interface LeaseCounts {
  readonly live: number
  /** Leases that ran out and that no process has taken since then. */
  readonly expired: number
}

/** Makes the reader of the backlog. Every statement reads few rows or counts up to `maxCounted`, and runs only when a caller asks for its number. */
export function createBacklog({
  bus,
  deliveryLog,
  pools: { reads: pool },
}: Pick<Shared, 'bus' | 'deliveryLog'> & { readonly pools: Pick<Shared['pools'], 'reads'> }): Backlog {
  const sql = sqlOn(pool)
  const live = createLiveDeliveryLog({ log: deliveryLog, pool })
  let last: Promise<unknown> = Promise.resolve()
  /** Reads one number after another, so that a scrape takes one connection and the API keeps the others. */
  const inTurn = <T>(read: () => Promise<T>): Promise<T> => {
    const result = last.then(read, read)
    last = result
    return result
  }
  const remembered = <T>(ms: number, read: () => Promise<T>) => remember(ms, () => inTurn(read))
  const oldestRecord = createOldestRecord({ bus, saved: createOffsets(pool, bus.identity).saved })
  return {
    unread: () => inTurn(() => unread({ bus, pool })),
    oldestRecordSeconds: () => inTurn(oldestRecord),
    scheduled: remembered(freshMs, async () => ({ ...(await retries(sql)), parked: await parked(sql) })),
    deadLetters: remembered(deliveryLog.historyOf(1).countDeadLetters === undefined ? listedFreshMs : freshMs, async () => {
      const rows = await sql<{ tenant: TenantId }>`select tenant from webhook_tenants order by tenant`
      return live.countDeadLetters(
        rows.map(({ tenant }) => tenant),
        maxCounted,
      )
    }),
    webhooks: remembered(freshMs, () => webhookCounts(sql)),
    leases: remembered(freshMs, async () => {
      const [row] = await sql<{ live: number; expired: number }>`
        select count(*) filter (where until > clock_timestamp())::int as live, count(*) filter (where until <= clock_timestamp())::int as expired
        from leases`
      return row ?? { live: 0, expired: 0 }
    }),
    quarantined: remembered(
      freshMs,
      () => sql<{ projection: string; count: number }>`
      select q.projection, count(*)::int as count from quarantined_streams q
      join projections p on p.name = q.projection and p.build = q.build and p.is_live group by q.projection order by q.projection`,
    ),
    runningJobs: remembered(freshMs, async () => {
      const [row] = await sql<{ count: number }>`select count(*)::int as count from replay_jobs where status = 'running'`
      return row?.count ?? 0
    }),
    processes: () =>
      inTurn(async () => {
        const rows = await sql<{ role: string; count: number }>`
        select role, count(*)::int as count from live_processes, unnest(roles) as role
        where seen_at > clock_timestamp() - ${liveMs} * interval '1 ms' group by role`
        return { api: 0, dispatcher: 0, projector: 0, ...Object.fromEntries(rows.map(({ role, count }) => [role, count])) }
      }),
  }
}

/** Returns a function that returns the result of `read` again for `ms` milliseconds. An error is not kept. */
function remember<T>(ms: number, read: () => Promise<T>): () => Promise<T> {
  let last: { readonly at: number; readonly result: Promise<T> } | null = null
  return () => {
    const now = performance.now()
    if (last !== null && now - last.at < ms) return last.result
    const result = read()
    last = { at: now, result }
    result.catch(() => {
      if (last?.result === result) last = null
    })
    return result
  }
}

/**
 * Returns a function that returns the age of the oldest record that is not done. On a bus that cannot find this record, it is the time for which this
 * process has seen the same saved offset with records behind it. It leaves out the time before the first call, which itself
 * returns 0.
 */
function createOldestRecord({ bus, saved: readSaved }: { bus: Shared['bus']; saved: () => Promise<Map<number, bigint>> }) {
  let stuck = new Map<number, { readonly offset: bigint; readonly since: number }>()
  return async (): Promise<number> => {
    const saved = await readSaved()
    if (bus.oldest !== undefined) {
      const accepted_at = await bus.oldest(saved)
      return accepted_at === null ? 0 : Math.max(0, Date.now() - Date.parse(accepted_at)) / 1_000
    }
    const now = performance.now()
    const before = stuck
    const behind = [...(await bus.lag(saved))].filter(([, records]) => records > 0)
    stuck = new Map(
      behind.map(([partition]) => {
        const offset = saved.get(partition) ?? 0n
        const observed = before.get(partition)
        return [partition, observed?.offset === offset ? observed : { offset, since: now }]
      }),
    )
    return Math.max(0, ...[...stuck.values()].map(({ since }) => now - since)) / 1_000
  }
}

/** Counts the retries, and finds the oldest due one by a loose index scan over the webhooks. */
async function retries(sql: ReturnType<typeof sqlOn>): Promise<Omit<Scheduled, 'parked'>> {
  const [row] = await sql<{ retrying: number; oldest: number | null }>`
    with recursive due as (
      (select webhook from scheduled_deliveries where due_at is not null order by webhook limit 1)
      union all
      select (select s.webhook from scheduled_deliveries s where s.due_at is not null and s.webhook > due.webhook order by s.webhook limit 1)
      from due where due.webhook is not null
    )
    select (
      select count(*)::int from (
        select from scheduled_deliveries where due_at is not null order by webhook limit ${maxCounted}
      ) as counted
    ) as retrying, (
      select extract(epoch from clock_timestamp() - min(first.due_at))::double precision
      from (select webhook from due where webhook is not null limit ${maxSearched}) as searched
      cross join lateral (
        select s.due_at, s.tenant from scheduled_deliveries s where s.webhook = searched.webhook and s.due_at <= clock_timestamp()
        order by s.due_at limit 1
      ) as first
      where not exists (select from webhook_tenants t where t.tenant = first.tenant and t.is_suspended)
    ) as oldest`
  return { retrying: row?.retrying ?? 0, oldestDueSeconds: Math.max(0, row?.oldest ?? 0) }
}

async function parked(sql: ReturnType<typeof sqlOn>): Promise<Scheduled['parked']> {
  const rows = await sql<{ reason: ParkedReason; count: number }>`
    select case when t.is_suspended then 'tenant_suspended' else 'slot' end as reason, count(*)::int as count
    from (select tenant from scheduled_deliveries where due_at is null order by webhook limit ${maxCounted}) as row
    left join webhook_tenants t on t.tenant = row.tenant group by 1`
  return { slot: 0, tenant_suspended: 0, ...Object.fromEntries(rows.map(({ reason, count }) => [reason, count])) }
}

async function webhookCounts(sql: ReturnType<typeof sqlOn>): Promise<WebhookCounts> {
  const rows = await sql<{ is_active: boolean; reason: DeactivationReason | null; count: number }>`
    select is_active, deactivation_reason as reason, count(*)::int as count
    from webhook_subscriptions where deleted_at is null group by is_active, deactivation_reason`
  const [failing] = await sql<{ count: number }>`
    select count(distinct h.webhook)::int as count from webhook_health h join webhook_subscriptions w on w.id = h.webhook
    where w.is_active and w.deleted_at is null and h.revision >= w.activated_revision`
  const deactivated = { requested: 0, gone: 0, failing: 0, key_deleted: 0 }
  let active = 0
  for (const { is_active, reason, count } of rows)
    if (is_active) active += count
    else deactivated[reason ?? 'requested'] += count
  return { active, failing: failing?.count ?? 0, deactivated }
}
