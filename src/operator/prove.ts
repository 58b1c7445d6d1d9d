import { originAad } from '../commands/command-streams.ts'
import type { Config } from '../config/config.ts'
import type { Metadata, RecordedEvent } from '../events/envelope.ts'
import type { DeliveryId, EventId, TenantId } from '../events/ids.ts'
import { commitment, dayEntry, leafHash, storedEntry } from '../events/leaf.ts'
import type { LogEvents } from '../events/log.ts'
import { openEvent } from '../events/sealed-fields.ts'
import { secretFields } from '../events/secret-fields.ts'
import { attemptsStream, dayFamilies, type StreamName, webhookStream } from '../events/streams.ts'
import { isUuid } from '../events/uuid.ts'
import { KolbakError } from '../lib/errors.ts'
import type { MacFault } from '../lib/event-macs.ts'
import type { Log } from '../lib/log.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { inclusionProof, nodesOf, rootFromInclusion } from '../lib/merkle.ts'
import { inSnapshot, type Sql, sqlOn } from '../lib/sql.ts'
import type { Attempt, Delivery } from '../ports/delivery-log.ts'
import { findInStream } from '../ports/find-event.ts'
import { type AuditedEvent, auditedById, auditedStream, batchesSealedSince, readLogNodes, recordedOf } from '../projections/audit.ts'
import { readBatchLeaves } from '../projections/batch-leaves.ts'
import { createLiveDeliveryLog } from '../projections/live-delivery-log.ts'
import { logForked } from '../projections/log-heads.ts'
import { eventStoreSince } from '../service/batch-sealer.ts'
import type { Shared } from '../service/shared.ts'
import { eventsOfBatch } from './batch-events.ts'
import { newestHead, type Proof, proveConsistency } from './log-proofs.ts'
import { withShared } from './online.ts'

export interface ProveOptions {
  /** Names of sealed fields whose values the proof shows. */
  readonly disclose?: readonly string[]
  /** Heads that were kept elsewhere, as signed notes. The proof shows that the log still contains them. */
  readonly heads?: readonly string[]
}

/**
 * Proves a change (by the id of its event) or a delivery with its attempts. The service may run meanwhile. Throws KolbakError: `not_found`, `not_sealed`
 * if no head contains the events yet, `expired` or `moved` if a batch cannot be computed any more, `event_forged` or `log_forked` if the log is not what
 * Kolbak wrote, `not_disclosable` and `not_a_head`.
 */
export const prove = (config: Config, log: Log, id: string, options: ProveOptions = {}): Promise<Proof> =>
  withShared(config, log, (shared) => proveIn(shared, id.toLowerCase(), options), { needsData: true })

export async function proveIn(shared: Shared, id: string, { disclose = [], heads = [] }: ProveOptions = {}): Promise<Proof> {
  const secret = disclose.find((field) => secretFields.has(field))
  if (secret !== undefined) throw new KolbakError('not_disclosable', `${secret} is a secret: a proof never shows it.`)
  return proofOf(shared, await eventsToProve(shared, id, disclose), { disclose, heads })
}

/** Makes the proof of events. @param events.inLog also contains the batches of the other events */
export async function proofOf(shared: Shared, events: EventsToProve, { disclose = [], heads = [] }: ProveOptions): Promise<Proof> {
  for (const event of events.inLog) checkGenuine(shared, event)
  const signer = await openLogSigner(shared.keyring)
  const commands = events.inLog.map((event) => ({ entry: storedEntry(event), index: Number(event.index) }))
  const { head, paths, consistency } = await inSnapshot(shared.pools.reads, async (sql) => {
    const newest = await newestHead(sql, signer.vkey)
    if (newest === null || commands.some(({ index }) => index >= newest.size))
      throw new KolbakError(
        'not_sealed',
        `No head contains the event yet: try again in ${shared.config.KOLBAK_LOG_HEAD_SECONDS} s, while the service runs.`,
      )
    const pathsInLog: string[][] = []
    for (const { entry, index } of commands) pathsInLog.push(await pathInLog(sql, { entry, index, head: newest }))
    return { head: newest, paths: pathsInLog, consistency: await proveConsistency(sql, { head: newest, others: heads, vkey: signer.vkey }) }
  })
  const batchOf = (batch: AuditedEvent) => events.inLog.findIndex(({ index }) => index === batch.index)
  return {
    format: 'kolbak-proof/1',
    key: signer.vkey,
    head: head.note,
    entries: [
      ...commands.map(({ entry, index }, i) => ({ entry, index, path: paths[i]! })),
      ...events.inBatches.map(({ entry, index, path, batch }) => ({ entry, index, path, batch: batchOf(batch) })),
    ],
    disclosed: await disclosedValues(shared, events.inLog, disclose),
    consistency,
    genuine: signer.signText(`kolbak-genuine/1\n${commands.map(({ entry }) => leafHash(entry).toString('hex')).join('\n')}\n`),
  }
}

/** An event of a day stream, with its place in the batch that contains it. */
export interface SealedEvent {
  readonly entry: string
  /** The place in the batch. */
  readonly index: number
  readonly path: readonly string[]
  readonly batch: AuditedEvent
}
export interface EventsToProve {
  readonly inLog: readonly AuditedEvent[]
  readonly inBatches: readonly SealedEvent[]
}

async function eventsToProve(shared: Shared, id: string, disclose: readonly string[]): Promise<EventsToProve> {
  const sql = sqlOn(shared.pools.reads)
  const event = isUuid(id) ? await auditedById(sql, id as EventId) : null
  if (event !== null) return { inLog: [event], inBatches: [] }
  const { webhook, attempts } = await attemptsOf(shared, id as DeliveryId)
  const inBatches = await sealedEvents(
    shared,
    attempts.map(({ event_id, time }) => ({
      what: `attempt of ${time}`,
      stream: attemptsStream(webhook, time),
      time,
      matches: (event) => event.id === event_id,
    })),
  )
  const webhookEvents = (await Promise.all(inBatches.map(({ entry }) => disclosingEvents(sql, entry, disclose)))).flat()
  const inLog = new Map([...webhookEvents, ...inBatches.map(({ batch }) => batch)].map((row) => [row.index, row]))
  return { inLog: [...inLog.values()], inBatches }
}

/** Returns the attempts of a delivery, of whichever tenant. */
async function attemptsOf(
  { deliveryLog, pools }: Shared,
  delivery: DeliveryId,
): Promise<Pick<Delivery, 'webhook'> & { attempts: Attempt[] }> {
  const history = createLiveDeliveryLog({ log: deliveryLog, pool: pools.reads })
  const tenants = await sqlOn(pools.reads)<{ tenant: TenantId }>`select distinct tenant from audit_events where type = 'TenantRegistered'`
  for (const { tenant } of tenants) {
    const state = await history.find(tenant, delivery)
    if (state === null) continue
    const [attempts = []] = await history.attempts([state])
    if (attempts.length > 0) return { webhook: state.webhook, attempts }
    throw new KolbakError('not_found', `The delivery ${delivery} has no attempt yet, so there is nothing to prove.`)
  }
  throw new KolbakError(
    'not_found',
    `No change and no delivery has the id ${delivery}. Changes are kept for ever, and deliveries for the retention time.`,
  )
}

/** The most batches that are searched for one attempt. An attempt is in one of the first batches that were sealed after it. */
const maxBatches = 30
/** The most pages of 500 events that are read to find an event in its stream. */
const maxPagesOfStream = 200
/** Milliseconds by which the clocks of two processes may differ. */
const maxSkewMs = 60_000

/** An event that is searched in the batches. */
export interface Sought {
  readonly stream: StreamName
  /** Names the event in errors. */
  readonly what: string
  /** RFC 3339 time of the event. */
  readonly time: string
  matches(event: RecordedEvent): boolean
}
/** Returns the events with their places in their batches. Batches are read again, and each must have the root that was sealed. */
export async function sealedEvents(shared: Shared, sought: readonly Sought[]): Promise<SealedEvent[]> {
  const since = await eventStoreSince(shared.pools.reads)
  const results = new Map<Sought, SealedEvent>()
  const searched = new Set<bigint>()
  for (const event of sought) {
    const { what, time } = event
    const earliest = new Date(Date.parse(time) - maxSkewMs).toISOString()
    const batches = await batchesSealedSince(sqlOn(shared.pools.reads), earliest, maxBatches)
    for (const batch of batches) {
      if (results.has(event)) break
      if (searched.has(batch.index)) continue
      searched.add(batch.index)
      const isMoved = (JSON.parse(batch.metadata) as Metadata).time <= since
      const leaves = isMoved ? await readBatchLeaves(sqlOn(shared.pools.reads), batch.revision) : null
      if (isMoved && leaves === null)
        throw new KolbakError('moved', `The ${what} was stored in a former event store, so its batch cannot be computed any more.`)
      const sealedInBatch =
        leaves === null ? await eventsInBatch(shared, batch, sought) : await eventsInMovedBatch(shared, batch, leaves, sought)
      for (const [found, sealed] of sealedInBatch) results.set(found, sealed)
    }
    if (!results.has(event))
      throw new KolbakError(
        'not_sealed',
        `The ${what} is in no batch yet: try again in ${shared.config.KOLBAK_LOG_BATCH_SECONDS} s, while the service runs.`,
      )
  }
  return sought.map((event) => results.get(event)!)
}

async function eventsInBatch({ store, macs }: Shared, batch: AuditedEvent, sought: readonly Sought[]): Promise<Map<Sought, SealedEvent>> {
  const { from, through } = JSON.parse(batch.data) as LogEvents['BatchSealed']
  const leaves: Buffer[] = []
  const entries = new Map<Sought, { entry: string; index: number }>()
  for await (const events of eventsOfBatch(store, await store.head(dayFamilies), { from, through }) ?? [])
    for (const event of events) {
      const entry = dayEntry(event)
      // EventStoreDB may yield an event twice. Both are leaves, and the first one is proven.
      for (const soughtEvent of sought) {
        if (entries.has(soughtEvent) || !soughtEvent.matches(event)) continue
        checkMac(event, macs.faultOf(event))
        entries.set(soughtEvent, { entry, index: leaves.length })
      }
      leaves.push(leafHash(entry))
    }
  return pathsInBatch(batch, leaves, entries)
}

/** Finds events in a batch from before a move. The new store has the events, and the table has the leaves in their order. */
async function eventsInMovedBatch(
  { store, macs }: Shared,
  batch: AuditedEvent,
  leaves: readonly Buffer[],
  sought: readonly Sought[],
): Promise<Map<Sought, SealedEvent>> {
  const indexes = new Map(leaves.map((leaf, index) => [leaf.toString('base64'), index]))
  const entries = new Map<Sought, { entry: string; index: number }>()
  for (const event of sought) {
    const search = { time: event.time, disorderMs: maxSkewMs, untilMs: maxSkewMs, maxPages: maxPagesOfStream }
    const match = await findInStream(store, event.stream, search, event.matches)
    if (match === null) continue
    const entry = dayEntry(match)
    const index = indexes.get(leafHash(entry).toString('base64'))
    if (index === undefined) continue
    checkMac(match, macs.faultOf(match))
    entries.set(event, { entry, index })
  }
  return pathsInBatch(batch, leaves, entries)
}

/** Returns the path of each event to the root of its batch. Throws `batch_altered` if the batch has another root than its BatchSealed names. */
async function pathsInBatch(
  batch: AuditedEvent,
  leaves: readonly Buffer[],
  entries: ReadonlyMap<Sought, { readonly entry: string; readonly index: number }>,
): Promise<Map<Sought, SealedEvent>> {
  const { root, count, oldest_day } = JSON.parse(batch.data) as LogEvents['BatchSealed']
  const results = new Map<Sought, SealedEvent>()
  if (entries.size === 0) return results
  const nodes = nodesOf(leaves)
  for (const [event, { entry, index }] of entries) {
    const path = await inclusionProof(nodes, index, leaves.length)
    if (leaves.length !== count || rootFromInclusion(leaves[index]!, index, count, path)?.toString('base64') !== root)
      throw new KolbakError(
        'batch_altered',
        `The batch with the ${event.what} has ${leaves.length} events and another root than BatchSealed names (${count} events, from ${oldest_day} on): ` +
          'its events were changed, or the retention has dropped some of them. Run: kolbak audit verify --batches all',
      )
    results.set(event, { entry, index, path: path.map((hash) => hash.toString('base64')), batch })
  }
  return results
}

/** Returns the last event of the webhook before the attempt that set each of the fields to disclose. */
async function disclosingEvents(sql: Sql, entry: string, disclose: readonly string[]): Promise<AuditedEvent[]> {
  if (disclose.length === 0) return []
  const [, stream, , , data] = JSON.parse(entry) as [string, string, string, string, { webhook_revision: number | null }]
  if (data.webhook_revision === null) return []
  const webhook = stream.split('-')[1] as Parameters<typeof webhookStream>[0]
  const events = await auditedStream(sql, webhookStream(webhook), data.webhook_revision)
  return disclose.flatMap((field) => events.find((event) => field in commitsOf(event)) ?? [])
}
const commitsOf = ({ metadata }: AuditedEvent): Readonly<Record<string, string>> => (JSON.parse(metadata) as Metadata).commits ?? {}

/** Throws `event_forged` unless Kolbak has written the event as it is. */
function checkGenuine({ macs }: Shared, row: AuditedEvent): void {
  checkMac(row, leafHash(storedEntry(row)).equals(row.leaf) ? macs.faultOf(recordedOf(row)) : 'altered')
}
function checkMac({ stream, revision }: Pick<RecordedEvent, 'stream' | 'revision'>, fault: MacFault | null): void {
  if (fault !== null)
    throw new KolbakError('event_forged', `${stream}@${revision} is ${fault}: Kolbak has not written it like this, so it is not proven.`)
}

async function pathInLog(
  sql: Sql,
  { entry, index, head }: { entry: string; index: number; head: { size: number; root: Buffer } },
): Promise<string[]> {
  const path = await inclusionProof(readLogNodes(sql), index, head.size)
  if (rootFromInclusion(leafHash(entry), index, head.size, path)?.equals(head.root) !== true)
    throw logForked(`The audit log does not have the root of its head of ${head.size}, so nothing can be proven. Run: kolbak audit verify`)
  return path.map((hash) => hash.toString('base64'))
}

/** Returns the values of the fields, wherever an event of the proof has a commitment to one. */
async function disclosedValues(
  { keyring }: Pick<Shared, 'keyring'>,
  rows: readonly AuditedEvent[],
  fields: readonly string[],
): Promise<Proof['disclosed']> {
  const disclosed: Proof['disclosed'][number][] = []
  for (const [entry, row] of rows.entries())
    for (const field of fields.filter((name) => name in commitsOf(row))) {
      const event = recordedOf(row)
      const vault = await keyring.vault(event.metadata.tenant)
      const { data, metadata, stream } = event
      const sealed = String(field === 'origin' ? metadata.origin : Reflect.get(data, field))
      const value: unknown =
        field === 'origin'
          ? JSON.parse(vault.openText(originAad(metadata.tenant, stream), sealed))
          : Reflect.get(openEvent(vault, stream, { ...event, data: { [field]: sealed } }).data, field)
      const blinding = vault.blindingOf(sealed)
      if (commitment(field, blinding, value) !== commitsOf(row)[field])
        throw new KolbakError('event_forged', `${stream}@${row.revision} has a commitment to another ${field}.`)
      disclosed.push({ entry, field, blinding, value })
    }
  const missing = fields.filter((field) => disclosed.every((value) => value.field !== field))
  if (missing.length > 0) throw new KolbakError('not_disclosable', `No event of this proof has a commitment to ${missing.join(' or ')}.`)
  return disclosed
}
