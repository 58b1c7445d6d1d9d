import { leafHash, streamEntry, tenantEntry } from '../events/leaf.ts'
import { type LogEvents, logStream } from '../events/log.ts'
import type { StreamName } from '../events/streams.ts'
import { createMerkleTree, inclusionProof, nodesOf, rootOfLeaves } from '../lib/merkle.ts'
import type { Sql } from '../lib/sql.ts'
import { type AuditedEvent, auditedColumns } from './audit.ts'

/** A stream as the log had it at one size. */
interface LastEvent {
  readonly stream: StreamName
  readonly revision: number
  readonly leaf: Buffer
}
/** Returns the last event of each stream of a tenant among the first `size` events of the log, in the order of the names. */
const lastEventsOf = (sql: Sql, tenant: string, size: number): Promise<LastEvent[]> =>
  sql<LastEvent>`
    select distinct on (stream) stream, revision, leaf from audit_events
    where tenant = ${tenant} and index < ${size} order by stream, revision desc`
const leavesOf = (events: readonly LastEvent[]): Buffer[] =>
  events.map(({ stream, revision, leaf }) => leafHash(streamEntry(stream, revision, leaf)))

/** Returns the leaf of each tenant, in the order of their ids. */
async function leavesOfTenants(sql: Sql, size: number): Promise<{ tenant: string; leaf: Buffer }[]> {
  const tenants = await sql<{ tenant: string }>`select distinct tenant from audit_events where index < ${size} order by tenant`
  const leaves: { tenant: string; leaf: Buffer }[] = []
  for (const { tenant } of tenants) {
    const streams = leavesOf(await lastEventsOf(sql, tenant, size))
    leaves.push({ tenant, leaf: leafHash(tenantEntry(tenant, streams.length, rootOfLeaves(streams))) })
  }
  return leaves
}

/** Returns the list of the streams that the log had at a size. @param sql sees one state of the database */
export async function listStreams(sql: Sql, size: number): Promise<LogEvents['StreamsListed']> {
  const tree = createMerkleTree()
  for (const { leaf } of await leavesOfTenants(sql, size)) tree.push(leaf)
  return { size, tenants: tree.size, root: tree.root().toString('base64') }
}

/** Returns the last StreamsListed among the first `end` events of the log, or null. */
export async function lastStreamList(sql: Sql, end: number): Promise<AuditedEvent | null> {
  const [row] = await sql<AuditedEvent>`
    select ${auditedColumns} from audit_events
    where stream = ${logStream} and type = 'StreamsListed' and index < ${end} order by revision desc limit 1`
  return row ?? null
}

/** The place of a leaf in a tree, and its path to the root. The hashes are in base64. */
export interface Place {
  readonly index: number
  readonly path: readonly string[]
}
async function placeIn(leaves: readonly Buffer[], index: number): Promise<Place> {
  const path = await inclusionProof(nodesOf(leaves), index, leaves.length)
  return { index, path: path.map((hash) => hash.toString('base64')) }
}
/** Returns the place of a tenant in the list of this size, or null if the list does not have the tenant. */
export async function placeOfTenant(sql: Sql, size: number, tenant: string): Promise<Place | null> {
  const tenants = await leavesOfTenants(sql, size)
  const index = tenants.findIndex((other) => other.tenant === tenant)
  return index < 0
    ? null
    : placeIn(
        tenants.map(({ leaf }) => leaf),
        index,
      )
}
/** Returns the number of streams of a tenant in the list of this size, and the place of one of them, or null if the list does not have it. */
export async function placeOfStream(
  sql: Sql,
  size: number,
  { tenant, stream }: { readonly tenant: string; readonly stream: StreamName },
): Promise<{ streams: number; place: Place } | null> {
  const streams = await lastEventsOf(sql, tenant, size)
  const index = streams.findIndex((other) => other.stream === stream)
  return index < 0 ? null : { streams: streams.length, place: await placeIn(leavesOf(streams), index) }
}
