import type { Pool } from 'pg'
import type { Actor, Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { EventId, TenantId } from '../events/ids.ts'
import { type Family, familyOf, type StreamName } from '../events/streams.ts'
import { sqlOn } from '../lib/sql.ts'
import { projectionNames } from './names.ts'
import type { Projection } from './projection.ts'

export const auditedFamilies = ['tenant', 'key', 'webhook'] as const satisfies readonly Family[]
export type AuditedFamily = (typeof auditedFamilies)[number]

/**
 * The read model of all events that commands have appended, by tenant and time. It is needed because an event store can be read only by stream or
 * position. Sealed values stay sealed.
 */
export const audit: Projection = {
  name: projectionNames.audit,
  version: 2,
  families: auditedFamilies,
  views: ['audit_events'],
  tables: `
    create table audit_events (
      position text collate "C" primary key,
      tenant text collate "C" not null,
      time timestamptz not null,
      stream text collate "C" not null,
      revision integer not null,
      id uuid not null,
      family text not null,
      type text not null,
      actor text not null,
      correlation_id text not null,
      schema integer not null,
      data text not null -- JSON, in the schema whose number is in the column "schema"
    );
    create index audit_events_by_time on audit_events (tenant, time, position); -- serves auditedEvents`,
  async apply(sql, events) {
    const column = (of: (event: RecordedEvent) => string) => events.map(of)
    await sql`
      insert into audit_events (position, tenant, time, stream, revision, id, family, type, actor, correlation_id, schema, data)
      select * from unnest(${column((e) => e.position)}::text[], ${column((e) => e.metadata.tenant)}::text[],
        ${column((e) => e.metadata.time)}::timestamptz[], ${column((e) => e.stream)}::text[], ${events.map((e) => e.revision)}::int[],
        ${column((e) => e.id)}::uuid[], ${column((e) => familyOf(e.stream))}::text[], ${column((e) => e.type)}::text[],
        ${column((e) => e.metadata.actor)}::text[], ${column((e) => e.metadata.$correlationId)}::text[], ${events.map((e) => e.metadata.schema)}::int[],
        ${column((e) => JSON.stringify(e.data))}::text[])`
  },
}

export interface AuditedEvent {
  readonly position: Checkpoint
  readonly tenant: TenantId
  readonly time: string
  readonly stream: StreamName
  readonly revision: number
  readonly id: EventId
  readonly family: AuditedFamily
  readonly type: string
  readonly actor: Actor
  readonly correlation_id: string
  readonly schema: number
  /** The data as JSON, in the shape of the schema number `schema`. Sealed values stay sealed. */
  readonly data: string
}
interface AuditQuery {
  readonly tenant: TenantId
  /** Lowest time (RFC 3339), inclusive. */
  readonly since?: string
  /** Highest time (RFC 3339), exclusive. */
  readonly until?: string
  readonly family?: AuditedFamily
  readonly actor?: string
}

const batchSize = 500

/** Yields the events of a tenant in the order of their times, in batches of at most 500 events. */
export async function* auditedEvents(pool: Pool, query: AuditQuery): AsyncGenerator<AuditedEvent[]> {
  const { tenant, since = null, until = null, family = null, actor = null } = query
  let after: AuditedEvent | undefined
  for (;;) {
    const { time, position }: { time: string | null; position: string } = after ?? { time: null, position: '' }
    const batch: AuditedEvent[] = await sqlOn(pool)<AuditedEvent>`
      select position, tenant, time, stream, revision, id, family, type, actor, correlation_id, schema, data
      from audit_events
      where tenant = ${tenant} and (${since}::timestamptz is null or time >= ${since}) and (${until}::timestamptz is null or time < ${until})
        and (${time}::timestamptz is null or (time, position) > (${time}, ${position}))
        and (${family}::text is null or family = ${family}) and (${actor}::text is null or actor = ${actor})
      order by time, position limit ${batchSize}`
    if (batch.length > 0) yield batch
    after = batch.at(-1)
    if (after === undefined || batch.length < batchSize) return
  }
}
