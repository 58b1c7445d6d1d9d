import { pick } from '../events/fields.ts'
import { type RecordedWebhookEvent, type Webhook, type WebhookField, webhookFields } from '../events/webhook.ts'
import { type Sql, sqlOn } from '../lib/sql.ts'
import { columnDefinitions, columnList, insertion, openRow, type Row, selection, toRow, versionedColumnsOf } from './columns.ts'
import { projectionNames } from './names.ts'
import { byType, type Projection } from './projection.ts'
import { type Counted, type Page, pageOf, type ReadModelDependencies } from './read-model-queries.ts'
import type { WebhookFilter } from './webhooks.ts'

const columns = versionedColumnsOf(webhookFields)
const tables = `
  create table webhook_versions (
    ${columnDefinitions(webhookFields, columns)}
    revision integer not null,
    until timestamptz, -- the start of the next version or the time of deletion; null for the present version
    primary key (id, revision)
  );
  create index webhook_versions_of_tenant on webhook_versions (tenant, updated_at); -- serves listWebhooksAsOf`

/** Ends the present version, and begins the next version with the changes of an event. */
const next = (sql: Sql, { data, metadata: { time }, revision }: RecordedWebhookEvent, changes: Row = {}) => sql`
  with ended as (
    update webhook_versions set until = ${time} where id = ${data.id} and until is null returning *
  )
  insert into webhook_versions (${columnList(columns)}, revision)
  select ${selection(columns, { ...changes, updated_at: time })}, ${revision} from ended`

/** The read model of every version of a webhook, with the time for which the version was valid. Lists of a past moment are read from it. */
export const webhookVersions: Projection = {
  name: projectionNames.webhookVersions,
  version: 1,
  families: ['webhook'],
  views: ['webhook_versions'],
  tables,
  ...byType<RecordedWebhookEvent>({
    WebhookCreated: (sql, { data, metadata: { time }, revision }) =>
      sql`insert into webhook_versions ${insertion({
        ...pick(
          toRow(webhookFields, data),
          columns.filter((column) => column in data),
        ),
        ...{ deactivation_reason: data.is_active ? null : 'requested', created_at: time, updated_at: time, revision },
      })}`,
    WebhookChanged: (sql, event) => next(sql, event, toRow(webhookFields, event.data)),
    WebhookSecretRotated: (sql, event) => next(sql, event),
    WebhookActivated: (sql, event) => next(sql, event, { is_active: true, deactivation_reason: null }),
    WebhookDeactivated: (sql, event) => next(sql, event, { is_active: false, deactivation_reason: event.data.reason }),
    WebhookDeleted: (sql, { data, metadata: { time } }) =>
      sql`update webhook_versions set until = ${time} where id = ${data.id} and until is null`,
  }),
}

/** A webhook as it was at a time. No past secrets are kept. */
type WebhookVersion = Pick<Webhook, WebhookField<'versioned'>> & { readonly revision: number }

/** Returns the webhooks that existed at a time (RFC 3339), as they were then, newest first. The filters compare the values of that time. */
export async function listWebhooksAsOf(
  { pool, keyring }: ReadModelDependencies,
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
    select counted.total, ${columnList(columns)}, revision
    from (select count(*) as total from standing) counted
    left join (select * from standing order by created_at desc, id desc limit ${limit} offset ${offset}) page on true
    order by created_at desc, id desc`
  const vault = await keyring.vault(tenant)
  return pageOf<WebhookVersion>(rows, (row) => openRow(vault, webhookFields, row))
}
