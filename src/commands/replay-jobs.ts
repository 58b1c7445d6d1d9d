import type { Pool } from 'pg'
import type { DeliveryStatus } from '../events/delivery.ts'
import type { Actor } from '../events/envelope.ts'
import type { DeliveryId, JobId, KeyId, TenantId, WebhookId } from '../events/ids.ts'
import { step } from '../events/steps.ts'
import { sqlOn } from '../lib/sql.ts'
import type { HistoryCursor, ResultFilter } from '../ports/delivery-log.ts'

/**
 * A request to replay deliveries of one webhook: those that have a given status, and whose messages were accepted in a range of time. Each delivery is
 * replayed once, newest first.
 */
export interface ReplayRequest {
  readonly id: JobId
  readonly tenant: TenantId
  readonly webhook: WebhookId
  /** The key that created the webhook, or null. */
  readonly key_id: KeyId | null
  readonly actor: Actor
  /** Kolbak's own id of the request that asked for the job, or null for a job of version 0.2. */
  readonly request_id: string | null
  /** Start of the range (inclusive), RFC 3339. */
  readonly since: string
  /** End of the range (exclusive), RFC 3339. */
  readonly until: string
  /** The status of the deliveries to replay. Null means `failed` and `discarded`. */
  readonly delivery_status: DeliveryStatus | null
  /** The name of the event, the last reason and the last HTTP status of the deliveries to replay. Null stands for all. */
  readonly delivery_event: string | null
  readonly delivery_reason: string | null
  readonly delivery_code: number | null
  /** The number of deliveries that matched when the job was requested, or null if they were too many to count. */
  readonly expected: number | null
}
export const jobStatuses = ['running', 'completed', 'cancelled', 'failed'] as const
export type JobStatus = (typeof jobStatuses)[number]
export interface ReplayJob extends ReplayRequest {
  readonly status: JobStatus
  /** The reason of the failure, or null. */
  readonly reason: string | null
  readonly replayed: number
  /** Deliveries that were skipped because their payload had expired. */
  readonly skipped: number
  readonly created_at: string
  readonly updated_at: string
  readonly finished_at: string | null
}
/** The next deliveries to replay. A page is stored before its events are appended, so that a repetition after a crash appends the same events. */
export interface ReplayPage {
  /** The time of the page's events. Their stream is the one of this day. */
  readonly time: string
  readonly webhookRevision: number
  readonly deliveries: readonly { readonly accepted_at: string; readonly delivery: DeliveryId; readonly chain: number }[]
}
export interface ActiveJob extends ReplayJob {
  /** Number of completed pages. */
  readonly pages: number
  /** The last delivery of the last page. */
  readonly cursor: HistoryCursor | null
  /** The page that is being replayed, or null. */
  readonly page: ReplayPage | null
}

/** Returns the conditions on the event and the result of the deliveries of a job, for a query of the history. */
export const deliveryFilterOf = ({
  delivery_event: event,
  delivery_reason: reason,
  delivery_code: code,
}: Pick<ReplayRequest, 'delivery_event' | 'delivery_reason' | 'delivery_code'>): ResultFilter => ({
  ...(event === null ? {} : { event }),
  ...(reason === null ? {} : { reason }),
  ...(code === null ? {} : { code }),
})
/** The statuses of the deliveries that a job replays by default. */
export const endedInFailure: readonly DeliveryStatus[] = ['failed', 'discarded']

/**
 * The table `replay_jobs`. A webhook has one running job at a time. A stored page is completed even when the job is cancelled
 * meanwhile, so that the counts are correct. When two processes work on one job, the slower process writes nothing.
 */
export interface ReplayJobs {
  /**
   * Stores a job, which is durable when this resolves. Returns the stored job when its id exists, or null while another job of the
   * webhook runs.
   */
  begin(request: ReplayRequest): Promise<ReplayJob | null>
  /** Returns a job of the tenant, or null. A key finds only jobs of webhooks that it created. */
  find(owner: { readonly tenant: TenantId; readonly key_id?: KeyId }, id: JobId): Promise<ReplayJob | null>
  /** Returns the jobs of the tenant, newest first. A key sees only jobs of webhooks that it created. @param query.after the last job of the page before */
  list(
    owner: { readonly tenant: TenantId; readonly key_id?: KeyId },
    query: { readonly webhook?: WebhookId; readonly status?: JobStatus; readonly after?: JobId; readonly limit: number },
  ): Promise<ReplayJob[]>
  /** Cancels the job. Returns false when the job has ended already. */
  cancel(id: JobId): Promise<boolean>
  /** Returns the jobs that run or still have a page, oldest first. */
  active(): Promise<ActiveJob[]>
  /** Stores the next page. Returns false when the job has ended, or when another process has stored a page. */
  plan(job: ActiveJob, page: ReplayPage): Promise<boolean>
  /** Counts the page as completed. Returns false when another process has counted it. */
  done(job: ActiveJob, counts: { readonly replayed: number; readonly skipped: number }): Promise<boolean>
  /** Ends the job. Returns false when the job has ended already, or when another process has stored a page. */
  end(job: ActiveJob, as: { readonly status: 'completed' | 'failed'; readonly reason: string | null }): Promise<boolean>
  /** Deletes the jobs that finished before the day (`yyyy-mm-dd`, UTC). Returns their number. */
  expire(day: string): Promise<number>
}

const columns = `id, tenant, webhook, key_id, actor, request_id, since, until, delivery_status, delivery_event, delivery_reason, delivery_code, expected,
  status, reason, replayed, skipped, created_at, updated_at, finished_at`

export function createReplayJobs(pool: Pool): ReplayJobs {
  const sql = sqlOn(pool)
  return {
    async begin({ id, tenant, webhook, key_id, actor, request_id, since, until, delivery_status, ...filter }) {
      const { delivery_event, delivery_reason, delivery_code, expected } = filter
      await step(
        'job.begin',
        () =>
          sql`insert into replay_jobs (id, tenant, webhook, key_id, actor, request_id, since, until, delivery_status, delivery_event,
                delivery_reason, delivery_code, expected)
              values (${id}, ${tenant}, ${webhook}, ${key_id}, ${actor}, ${request_id}, ${since}, ${until}, ${delivery_status}, ${delivery_event},
                ${delivery_reason}, ${delivery_code}, ${expected})
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
    async list({ tenant, key_id }, { webhook, status, after, limit }) {
      const { rows } = await pool.query<ReplayJob>(
        `select ${columns} from replay_jobs where tenant = $1 and ($2::text is null or key_id = $2) and ($3::text is null or webhook = $3)
           and ($4::text is null or status = $4) and ($5::text is null or id < $5)
         order by id desc limit $6`,
        [tenant, key_id ?? null, webhook ?? null, status ?? null, after ?? null, limit],
      )
      return rows
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
      const deleted = await sql`
        delete from replay_jobs where finished_at < ${`${day}T00:00:00.000Z`} and status <> 'running' and page is null returning id`
      return deleted.length
    },
  }
}
