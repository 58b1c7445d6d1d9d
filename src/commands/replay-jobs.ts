import type { Pool } from 'pg'
import type { DeliveryStatus } from '../events/delivery.ts'
import type { Actor } from '../events/envelope.ts'
import type { DeliveryId, JobId, KeyId, TenantId, WebhookId } from '../events/ids.ts'
import { step } from '../lib/points.ts'
import { sqlOn } from '../lib/sql.ts'
import type { HistoryCursor } from '../ports/delivery-log.ts'

/** What was asked for: the deliveries of a webhook that were accepted in a range and have a status, once each, newest first. */
export interface Wanted {
  readonly id: JobId
  readonly tenant: TenantId
  readonly webhook: WebhookId
  /** The key that created the webhook, or null. */
  readonly key_id: KeyId | null
  readonly actor: Actor
  /** Inclusive; RFC 3339. */
  readonly since: string
  /** Exclusive. */
  readonly until: string
  /** Null: what ended in failure, `failed` and `discarded`. */
  readonly delivery_status: DeliveryStatus | null
}
export type JobStatus = 'running' | 'completed' | 'cancelled' | 'failed'
export interface ReplayJob extends Wanted {
  readonly status: JobStatus
  /** Why it failed. */
  readonly reason: string | null
  readonly replayed: number
  /** Of these the payload was gone. */
  readonly skipped: number
  readonly created_at: string
  readonly updated_at: string
  readonly finished_at: string | null
}
/** What is done next, chosen and stored before anything of it is: whoever does it again appends the same events. */
export interface ReplayPage {
  /** Of its events, and so the day of their stream. */
  readonly time: string
  readonly webhookRevision: number
  readonly deliveries: readonly { readonly accepted_at: string; readonly delivery: DeliveryId; readonly chain: number }[]
}
export interface ActiveJob extends ReplayJob {
  /** That are done. */
  readonly pages: number
  /** The last delivery of the last page. */
  readonly cursor: HistoryCursor | null
  /** The page at hand. */
  readonly page: ReplayPage | null
}

/**
 * The table `replay_jobs`. A webhook has one running job at a time. A page that was chosen is done, also when the job was
 * cancelled meanwhile, so that the counts are true. Of two processes that work on one job the slower writes nothing.
 */
export interface ReplayJobs {
  /** Durable when it has resolved; the same id again answers the same job. Null when another job of the webhook runs. */
  begin(wanted: Wanted): Promise<ReplayJob | null>
  /** A job of the tenant; for a key, of a webhook that it created. */
  find(owner: { readonly tenant: TenantId; readonly key_id?: KeyId }, id: JobId): Promise<ReplayJob | null>
  /** False when it does not run any more. */
  cancel(id: JobId): Promise<boolean>
  /** Those that there is something to do for, oldest first. */
  active(): Promise<ActiveJob[]>
  /** False when the job does not run any more, or another process has chosen. */
  plan(job: ActiveJob, page: ReplayPage): Promise<boolean>
  /** False when another process has done the page. */
  done(job: ActiveJob, counts: { readonly replayed: number; readonly skipped: number }): Promise<boolean>
  /** False when it does not run any more, or another process has found more to do. */
  end(job: ActiveJob, as: { readonly status: 'completed' | 'failed'; readonly reason: string | null }): Promise<boolean>
  /** Drops what was over before the day (`yyyy-mm-dd`, UTC); answers how many. */
  expire(day: string): Promise<number>
}

const columns = `id, tenant, webhook, key_id, actor, since, until, delivery_status, status, reason, replayed,
  skipped, created_at, updated_at, finished_at`

export function createReplayJobs(pool: Pool): ReplayJobs {
  const sql = sqlOn(pool)
  return {
    async begin({ id, tenant, webhook, key_id, actor, since, until, delivery_status }) {
      await step(
        'job.begin',
        () =>
          sql`insert into replay_jobs (id, tenant, webhook, key_id, actor, since, until, delivery_status)
              values (${id}, ${tenant}, ${webhook}, ${key_id}, ${actor}, ${since}, ${until}, ${delivery_status})
              on conflict do nothing`,
      )
      const { rows } = await pool.query<ReplayJob>(`select ${columns} from replay_jobs where id = $1`, [id])
      return rows[0] ?? null
    },
    async find({ tenant, key_id }, id) {
      const { rows } = await pool.query<ReplayJob>(
        `select ${columns} from replay_jobs where id = $1 and tenant = $2 and ($3::text is null or key_id = $3)`,
        [id, tenant, key_id ?? null],
      )
      return rows[0] ?? null
    },
    async cancel(id) {
      const cancelled = await sql`
        update replay_jobs set status = 'cancelled', finished_at = clock_timestamp(), updated_at = clock_timestamp()
        where id = ${id} and status = 'running' returning id`
      return cancelled.length > 0
    },
    async active() {
      const { rows } = await pool.query<ActiveJob>({
        name: 'replay-jobs-active',
        text: `select ${columns}, pages, cursor, page from replay_jobs where status = 'running' or page is not null order by id`,
      })
      return rows
    },
    async plan({ id, pages }, page) {
      const planned = await step(
        'job.plan',
        () =>
          sql`update replay_jobs set page = ${JSON.stringify(page)}, updated_at = clock_timestamp()
              where id = ${id} and pages = ${pages} and page is null and status = 'running' returning id`,
      )
      return planned.length > 0
    },
    async done({ id, pages }, { replayed, skipped }) {
      const done = await step(
        'job.done',
        () =>
          sql`update replay_jobs set pages = pages + 1, page = null, updated_at = clock_timestamp(),
                cursor = jsonb_build_object('at', page #>> '{deliveries,-1,accepted_at}', 'delivery', page #>> '{deliveries,-1,delivery}'),
                replayed = replayed + ${replayed}, skipped = skipped + ${skipped}
              where id = ${id} and pages = ${pages} and page is not null returning id`,
      )
      return done.length > 0
    },
    async end({ id, pages }, { status, reason }) {
      const ended = await step(
        'job.end',
        () =>
          sql`update replay_jobs set status = ${status}, reason = ${reason}, finished_at = clock_timestamp(), updated_at = clock_timestamp()
              where id = ${id} and pages = ${pages} and page is null and status = 'running' returning id`,
      )
      return ended.length > 0
    },
    async expire(day) {
      const gone = await sql`
        delete from replay_jobs where finished_at < ${`${day}T00:00:00.000Z`} and status <> 'running' and page is null returning id`
      return gone.length
    },
  }
}
