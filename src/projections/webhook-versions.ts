import type { RecordedWebhookEvent } from '../events/webhook.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import { byType, type Projection } from './projection.ts'
import { type Counted, fieldOpener, type Page, pageOf, type ReadDeps } from './reading.ts'
import type { WebhookFilter, WebhookRow } from './webhooks.ts'

const tables = `
  create table webhook_versions (
    id text collate "C" not null,
    revision integer not null,
    tenant text collate "C" not null,
    key_id text collate "C",
    callback_url text not null, -- sealed, as description is
    event text not null,
    description text,
    is_active boolean not null,
    deactivation_reason text,
    retry_delays double precision[],
    created_at timestamptz not null,
    updated_at timestamptz not null,
    until timestamptz, -- when the next version, or the end, began; null for the present one
    primary key (id, revision)
  );
  create index webhook_versions_of_tenant on webhook_versions (tenant, updated_at); -- listWebhooksAsOf`

/** Ends the present version and begins the next with what an event says anew. */
const next = (
  sql: Sql,
  { data, metadata: { time }, revision }: RecordedWebhookEvent,
  to: {
    callback_url?: string
    event?: string
    description?: string | null
    retry_delays?: number[] | null
    is_active?: boolean
    reason?: string | null
  } = {},
) => sql`
  with ended as (
    update webhook_versions set until = ${time} where id = ${data.id} and until is null returning *
  )
  insert into webhook_versions (id, revision, tenant, key_id, callback_url, event, description, is_active, deactivation_reason, retry_delays,
    created_at, updated_at)
  select id, ${revision}, tenant, key_id, coalesce(${to.callback_url ?? null}, callback_url), coalesce(${to.event ?? null}, event),
    case when ${to.description !== undefined} then ${to.description ?? null} else description end,
    coalesce(${to.is_active ?? null}, is_active),
    case when ${to.reason !== undefined} then ${to.reason ?? null} else deactivation_reason end,
    case when ${to.retry_delays !== undefined} then ${to.retry_delays ?? null} else retry_delays end,
    created_at, ${time}
  from ended`

/** Every version that a webhook ever had, with the time for which it stood: what lists of a moment are read from. */
export const webhookVersions: Projection = {
  name: 'webhook_versions',
  version: 1,
  families: ['webhook'],
  views: ['webhook_versions'],
  tables,
  ...byType<RecordedWebhookEvent>({
    WebhookCreated: (sql, { data, metadata: { time }, revision }) =>
      sql`insert into webhook_versions (id, revision, tenant, key_id, callback_url, event, description, is_active, deactivation_reason,
            retry_delays, created_at, updated_at)
          values (${data.id}, ${revision}, ${data.tenant}, ${data.key_id}, ${data.callback_url}, ${data.event}, ${data.description},
            ${data.is_active}, ${data.is_active ? null : 'requested'}, ${data.retry_delays}, ${time}, ${time})`,
    WebhookChanged: (sql, event) => {
      const { callback_url, event: pattern, description, retry_delays } = event.data
      return next(sql, event, {
        ...(callback_url === undefined ? {} : { callback_url }),
        ...(pattern === undefined ? {} : { event: pattern }),
        ...(description === undefined ? {} : { description }),
        ...(retry_delays === undefined ? {} : { retry_delays }),
      })
    },
    WebhookSecretRotated: (sql, event) => next(sql, event),
    WebhookActivated: (sql, event) => next(sql, event, { is_active: true, reason: null }),
    WebhookDeactivated: (sql, event) => next(sql, event, { is_active: false, reason: event.data.reason }),
    WebhookDeleted: (sql, { data, metadata: { time } }) =>
      sql`update webhook_versions set until = ${time} where id = ${data.id} and until is null`,
  }),
}

/** A webhook as it was: no secret is kept of its past here. */
export type WebhookVersion = Omit<WebhookRow, 'secret' | 'previous_secret' | 'previous_until' | 'failing_since'>

/** The webhooks that there were at a moment (RFC 3339), as they were then, newest first; the filters compare what was then. */
export async function listWebhooksAsOf(
  { pool, keyring }: ReadDeps,
  filter: WebhookFilter & { readonly asOf: string },
): Promise<Page<WebhookVersion>> {
  const { tenant, key_id = null, ids = null, events = null, is_active = null, limit, offset, asOf } = filter
  const rows = await sqlOn(pool)<Counted<WebhookVersion>>`
    with standing as (
      select * from webhook_versions
      where tenant = ${tenant} and updated_at <= ${asOf} and (until is null or until > ${asOf})
        and (${key_id}::text is null or key_id = ${key_id}) and (${ids}::text[] is null or id = any (${ids}))
        and (${events}::text[] is null or event = any (${events})) and (${is_active}::boolean is null or is_active = ${is_active})
    )
    select counted.total, id, tenant, key_id, callback_url, event, description, is_active,
      deactivation_reason, retry_delays, created_at, updated_at, revision
    from (select count(*) as total from standing) counted
    left join (select * from standing order by created_at desc, id desc limit ${limit} offset ${offset}) page on true
    order by created_at desc, id desc`
  const vault = await keyring.vault(tenant)
  return pageOf<WebhookVersion>(rows, (row) => {
    const open = fieldOpener(vault, row.tenant, row.id)
    return {
      ...row,
      callback_url: open.field('callback_url', row.callback_url),
      description: open.optional('description', row.description),
    }
  })
}
