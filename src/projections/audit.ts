import type { ClientBase, Pool } from 'pg'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { EventId, TenantId } from '../events/ids.ts'
import { commandEntry, leafHash } from '../events/leaf.ts'
import { logStream } from '../events/log.ts'
import { type Family, familyOf, type StreamName } from '../events/streams.ts'
import { createMerkleTree, type ReadNodes } from '../lib/merkle.ts'
import { type Sql, sqlOn, sqlText } from '../lib/sql.ts'
import { projectionNames } from './names.ts'
import type { Projection } from './projection.ts'

/** The families whose events commands append. Together they are the audit log. */
export const auditedFamilies = ['tenant', 'key', 'webhook', 'log', 'erasure'] as const satisfies readonly Family[]
export type AuditedFamily = (typeof auditedFamilies)[number]

/** The most characters of a text in a column that has an index. Only other programs write longer texts, and an index would refuse them. */
const maxIndexed = 300
const textOf = (value: unknown): string => (typeof value === 'string' ? value.replaceAll('\u0000', '').slice(0, maxIndexed) : '')
/** Returns a time that Postgres can store, or null. */
const timeOf = (value: unknown): string | null => {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN
  const time = Number.isNaN(ms) ? '' : new Date(ms).toISOString()
  return /^\d{4}-/.test(time) ? time : null
}
const integerOf = (value: unknown): number | null => (Number.isInteger(value) && Math.abs(Number(value)) < 2 ** 31 ? Number(value) : null)
const jsonOf = (value: unknown): string => JSON.stringify(value) ?? 'null'

/** The height of the subtrees whose roots are stored: 8, and multiples of it (the tiles of https://c2sp.org/tlog-tiles). */
const tileHeight = 8

/**
 * The audit log: all events of commands in the order of their positions, each with its index (from 0) and its leaf in one Merkle tree. It takes every
 * event as it is stored, even a forged one, so that no event can be hidden by making it faulty. Each build computes the tree anew.
 */
export const audit: Projection = {
  name: projectionNames.audit,
  version: 4,
  families: auditedFamilies,
  views: ['audit_events', 'log_state', 'log_nodes'],
  takesAll: true,
  tables: `
    create table audit_events (
      index bigint primary key, -- place in the log, from 0
      position text collate "C" not null,
      tenant text collate "C" not null,
      time timestamptz, -- null if the event has no time
      stream text collate "C" not null,
      revision integer not null,
      id uuid not null,
      family text not null,
      type text not null,
      actor text not null,
      correlation_id text not null,
      request_id text, -- null for events of version 0.2 and for those that no request caused
      schema integer, -- null if the event has none
      data text not null, -- JSON as it is stored
      metadata text not null, -- JSON as it is stored
      leaf bytea not null -- the event's leaf in the tree
    );
    create index audit_events_of_tenant on audit_events (tenant, index); -- serves auditedEvents
    create index audit_events_of_stream on audit_events (stream, revision); -- serves lastLoggedRevision
    create index audit_events_by_id on audit_events (id); -- serves finding one event
    create table log_state (
      size bigint not null, -- number of leaves
      frontier bytea not null -- the roots of the perfect subtrees, 32 bytes each, from the largest to the smallest
    );
    insert into log_state values (0, '');
    create table log_nodes (
      height smallint not null, -- 8, 16, ...
      index bigint not null, -- place among the subtrees of this height, from 0
      hash bytea not null,
      primary key (height, index) -- serves computing the root at an earlier size
    )`,
  async apply(sql, events) {
    const [state] = await sql<{ size: bigint; frontier: Buffer }>`select size, frontier from log_state for update`
    if (state === undefined) throw new Error('the audit log has no state')
    const tree = createMerkleTree(Number(state.size), splitHashes(state.frontier))
    const first = tree.size
    const leaves = events.map((event) => leafHash(commandEntry(event)))
    const nodes: { height: number; index: number; root: Buffer }[] = []
    for (const leaf of leaves)
      tree.push(leaf, (height, index, root) => {
        if (height % tileHeight === 0) nodes.push({ height, index, root })
      })
    const column = <T>(of: (event: RecordedEvent) => T) => events.map(of)
    const metadata = (name: string) => column((event) => textOf(Reflect.get(event.metadata, name)))
    await sql`
      insert into audit_events (index, position, tenant, time, stream, revision, id, family, type, actor, correlation_id, request_id, schema, data, metadata, leaf)
      select ${first}::bigint + place - 1, position, tenant, time, stream, revision, id, family, type, actor, correlation_id, nullif(request_id, ''), schema, data, metadata, leaf
      from unnest(${column((e) => e.position)}::text[], ${metadata('tenant')}::text[], ${column((e) => timeOf(e.metadata.time))}::timestamptz[],
        ${column((e) => e.stream)}::text[], ${column((e) => e.revision)}::int[], ${column((e) => e.id)}::uuid[],
        ${column((e) => familyOf(e.stream))}::text[], ${column((e) => textOf(e.type))}::text[], ${metadata('actor')}::text[],
        ${metadata('$correlationId')}::text[], ${metadata('request_id')}::text[], ${column((e) => integerOf(e.metadata.schema))}::int[],
        ${column((e) => jsonOf(e.data))}::text[], ${column((e) => jsonOf(e.metadata))}::text[], ${leaves}::bytea[])
        with ordinality as added (position, tenant, time, stream, revision, id, family, type, actor, correlation_id, request_id, schema, data, metadata, leaf, place)`
    await sql`
      insert into log_nodes (height, index, hash)
      select * from unnest(${nodes.map((n) => n.height)}::smallint[], ${nodes.map((n) => n.index)}::bigint[], ${nodes.map((n) => n.root)}::bytea[])`
    await sql`update log_state set size = ${tree.size}, frontier = ${Buffer.concat(tree.frontier)}`
  },
}

const splitHashes = (bytes: Buffer): Buffer[] => Array.from({ length: bytes.length / 32 }, (_, i) => bytes.subarray(i * 32, i * 32 + 32))

/** Returns the number of leaves and the root of the log as the live build has it. */
export async function readLogState(client: ClientBase | Pool): Promise<{ size: number; root: Buffer }> {
  const [state] = await sqlOn(client)<{ size: bigint; frontier: Buffer }>`select size, frontier from log_state`
  const size = Number(state?.size ?? 0n)
  return { size, root: createMerkleTree(size, splitHashes(state?.frontier ?? Buffer.alloc(0))).root() }
}

/** Reads the stored nodes of the log. */
export const readLogNodes =
  (sql: Sql): ReadNodes =>
  async (height, first, count) => {
    const rows =
      height === 0
        ? await sql<{ hash: Buffer }>`
            select leaf as hash from audit_events where index >= ${first} and index < ${first + count} order by index`
        : await sql<{ hash: Buffer }>`
            select hash from log_nodes where height = ${height} and index >= ${first} and index < ${first + count} order by index`
    return rows.map((row) => row.hash)
  }

export const auditedColumns = sqlText('index, position, stream, revision, id, family, type, data, metadata, leaf')

/** Returns the event with this id, or null. */
export async function auditedById(sql: Sql, id: EventId): Promise<AuditedEvent | null> {
  const [row] = await sql<AuditedEvent>`select ${auditedColumns} from audit_events where id = ${id} order by index limit 1`
  return row ?? null
}
/** Returns the batches of attempts that were sealed since a time (RFC 3339), the oldest first. */
export const batchesSealedSince = (sql: Sql, time: string, limit: number): Promise<AuditedEvent[]> =>
  sql<AuditedEvent>`
    select ${auditedColumns} from audit_events
    where stream = ${logStream} and type = 'BatchSealed' and time >= ${time} order by revision limit ${limit}`
/** Returns events in the order of their indexes. @param from the first index */
export const auditedPage = (sql: Sql, from: number, limit: number): Promise<AuditedEvent[]> =>
  sql<AuditedEvent>`select ${auditedColumns} from audit_events where index >= ${from} and index < ${from + limit} order by index`
/** Returns the events of a stream up to a revision, the newest first. */
export const auditedStream = (sql: Sql, stream: StreamName, upTo: number): Promise<AuditedEvent[]> =>
  sql<AuditedEvent>`select ${auditedColumns} from audit_events where stream = ${stream} and revision <= ${upTo} order by revision desc`

/** Returns the last revision of a stream that is in the log, or -1. */
export async function lastLoggedRevision(pool: Pool, stream: StreamName): Promise<number> {
  const [row] = await sqlOn(pool)<{ revision: number }>`
    select revision from audit_events where stream = ${stream} order by revision desc limit 1`
  return row?.revision ?? -1
}

/** Returns the last revision of a stream whose index is at most the given one, or -1. */
export async function lastRevisionUpTo(pool: Pool, stream: StreamName, index: number): Promise<number> {
  const [row] = await sqlOn(pool)<{ revision: number }>`
    select revision from audit_events where stream = ${stream} and index <= ${index} order by revision desc limit 1`
  return row?.revision ?? -1
}
/** Returns the index of an event in the log, or null while the log does not have it. */
export async function indexOfRevision(pool: Pool, stream: StreamName, revision: number): Promise<number | null> {
  const [row] = await sqlOn(pool)<{ index: bigint }>`
    select index from audit_events where stream = ${stream} and revision = ${revision} order by index limit 1`
  return row === undefined ? null : Number(row.index)
}

/**
 * Returns the index of the last event up to a time (RFC 3339), or null. It reads back from the newest event, so an early time takes longer.
 * @param tenant only events of this tenant
 */
export async function indexAt(pool: Pool, time: string, tenant?: TenantId): Promise<number | null> {
  const [row] =
    tenant === undefined
      ? await sqlOn(pool)<{ index: bigint }>`select index from audit_events where time <= ${time} order by index desc limit 1`
      : await sqlOn(pool)<{ index: bigint }>`
          select index from audit_events where tenant = ${tenant} and time <= ${time} order by tenant desc, index desc limit 1`
  return row === undefined ? null : Number(row.index)
}

export interface AuditedEvent {
  readonly index: bigint
  readonly position: Checkpoint
  readonly stream: StreamName
  readonly revision: number
  readonly id: EventId
  readonly family: AuditedFamily
  readonly type: string
  /** The data as JSON, as it is stored. Sealed values stay sealed. */
  readonly data: string
  readonly metadata: string
  readonly leaf: Buffer
}
/** Returns the event with its data and metadata parsed. Sealed values stay sealed. */
export const recordedOf = (row: AuditedEvent): RecordedEvent => ({ ...row, data: JSON.parse(row.data), metadata: JSON.parse(row.metadata) })
export interface AuditQuery {
  readonly tenant: TenantId
  /** The index after which the events begin, or -1. */
  readonly after: number
  /** The index before which the events end. */
  readonly end: number
  /** Lowest time (RFC 3339), inclusive. */
  readonly since?: string
  /** Highest time (RFC 3339), exclusive. */
  readonly until?: string
  readonly family?: AuditedFamily
  /** The id of a tenant, key, webhook or erasure. */
  readonly id?: string
  readonly type?: string
  readonly actor?: string
  readonly correlation?: string
  readonly request?: string
}

/** The most events of one query. The number is small, so that other requests do not wait long. */
const batchSize = 100
/**
 * The families that are shown without a filter. Of the events about the log itself, which come each minute, only those that follow from an operator's
 * command are shown without a filter.
 */
const shownFamilies: readonly AuditedFamily[] = auditedFamilies.filter((family) => family !== 'log')
const shownLogTypes = ['OperatorActed', 'LossDeclared']

/** Yields the events of a tenant in the order of their indexes, in batches of at most 100 events. */
export async function* auditedEvents(pool: Pool, query: AuditQuery): AsyncGenerator<AuditedEvent[]> {
  const {
    tenant,
    end,
    since = null,
    until = null,
    family,
    id = null,
    type = null,
    actor = null,
    correlation = null,
    request = null,
  } = query
  const families = family === undefined ? shownFamilies : [family]
  const alsoShown = family === undefined ? shownLogTypes : []
  const streams = id === null ? null : families.map((name) => `${name}-${id}`)
  for (let { after } = query; ; ) {
    const batch: AuditedEvent[] = await sqlOn(pool)<AuditedEvent>`
      select index, position, stream, revision, id, family, type, data, metadata, leaf
      from audit_events
      where tenant = ${tenant} and index > ${after} and index < ${end}
        and (${since}::timestamptz is null or time >= ${since}) and (${until}::timestamptz is null or time < ${until})
        and (family = any (${families}) or (family = 'log' and type = any (${alsoShown})))
        and (${streams}::text[] is null or stream = any (${streams})) and (${type}::text is null or type = ${type})
        and (${actor}::text is null or actor = ${actor}) and (${correlation}::text is null or correlation_id = ${correlation})
        and (${request}::text is null or request_id = ${request})
      order by index limit ${batchSize}`
    const last = batch.at(-1)
    if (last === undefined) return
    yield batch
    if (batch.length < batchSize) return
    after = Number(last.index)
  }
}
