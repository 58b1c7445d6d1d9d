import type { Pool } from 'pg'
import { hashOf } from '../commands/command-streams.ts'
import { type BatchSealed, isBatchSealed } from '../commands/log-events.ts'
import type { Config } from '../config/config.ts'
import type { RecordedEvent } from '../events/envelope.ts'
import { commandEntry, dayEntry, leafHash } from '../events/leaf.ts'
import { EventNotReadable, upcast } from '../events/schema.ts'
import { dayFamilies } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import type { Log } from '../lib/log.ts'
import { openHead, openLogSigner } from '../lib/log-signer.ts'
import { createMerkleTree } from '../lib/merkle.ts'
import { sqlOn } from '../lib/sql.ts'
import { eventsUpTo } from '../ports/events-up-to.ts'
import { audit, readLogState } from '../projections/audit.ts'
import { checkTables } from '../projections/check-tables.ts'
import { type KeptHead, listHeads } from '../projections/log-heads.ts'
import type { Projection } from '../projections/projection.ts'
import { eventStoreSince } from '../service/batch-sealer.ts'
import { anchorPath, readAnchor } from '../service/log-heads.ts'
import type { Shared } from '../service/shared.ts'
import { eventsOfBatch, oldestWholeDay } from './batch-events.ts'
import { explainFaults } from './explain-faults.ts'
import { openKeptHead } from './log-proofs.ts'
import { withShared } from './online.ts'
import { createFaults, type Fault, type Faults, linkFaults } from './verify-faults.ts'
import { compareWithIndex } from './verify-index.ts'
import { createKeyChecks } from './verify-keys.ts'

export interface Verification {
  readonly events: number
  /** The number of events that have a MAC. Events before LogStarted have none, and only the heads prove them. */
  readonly withMac: number
  readonly heads: number
  /**
   * Numbers of batches. `sealed` counts all of them, and `checked` those that were computed again. The retention has dropped events of the `expired`
   * ones, and the `moved` ones name positions of a former event store.
   */
  readonly batches: { readonly sealed: number; readonly checked: number; readonly expired: number; readonly moved: number }
  /** Names of the read models that were compared with the events. */
  readonly readModels: readonly string[]
  readonly size: number
  readonly root: string
  /** The size of the largest head whose root the audit log's own copy of the events has. */
  readonly copyAgreesUpTo: number
  readonly faults: readonly Fault[]
}
export interface VerifyOptions {
  /** Heads that were kept elsewhere, as signed notes. */
  readonly heads?: readonly string[]
  /** The number of batches of attempts and routing events that are computed again, chosen at random. Default 100. */
  readonly batches?: number
  /** Whether to build the read models again from the events, and to compare them. */
  readonly readModels?: boolean
  /** Called after each batch, with the number of events so far. */
  onProgress?(events: number): void
}

/**
 * Reads every event of the audit log. Checks its MAC, its place in its stream, its hash of the event before it, its bytes and its leaf. Also checks
 * the root of the tree at every head that was given out. The service may run meanwhile. Throws if the log cannot be read.
 */
export const verify = (config: Config, log: Log, options: VerifyOptions = {}): Promise<Verification> =>
  withShared(config, log, (shared, projections) => verifyLog(shared, options, projections), { needsData: true })

export async function verifyLog(
  shared: Shared,
  { heads: given = [], batches: batchesToCheck = 100, readModels = false, onProgress }: VerifyOptions,
  projections: readonly Projection[] = [],
): Promise<Verification> {
  const { store, pools, macs, keyring } = shared
  const { vkey } = await openLogSigner(keyring)
  const faults = createFaults()
  const heads = await headsToCheck(shared, given, vkey, faults)
  const tree = createMerkleTree()
  const streams = createStreamChecks(macs, faults)
  const leaves = new Map<string, Buffer>()
  // The rows are counted before the events are read, so each counted row must have an event.
  const { size: indexedBefore } = await readLogState(pools.reads)
  const head = await store.head(audit.families)
  const headsBySize = Map.groupBy(heads, ({ size }) => size)
  const checkRoot = () => {
    for (const { size, root } of headsBySize.get(tree.size) ?? []) if (!tree.root().equals(root)) faults.add(`head ${size}`, 'root differs')
  }
  const batches: BatchSealed[] = []
  const keys = createKeyChecks()
  let withMac = 0
  for await (const events of eventsUpTo(store, { families: audit.families, after: null, upTo: head })) {
    for (const event of events) {
      const leaf = leafHash(commandEntry(event))
      tree.push(leaf)
      leaves.set(`${event.stream}@${event.revision}`, leaf)
      if (event.metadata.mac !== undefined) withMac++
      streams.check(event)
      if (event.type === 'AttemptMacsStarted' && event.position !== macs.attemptsStart && macs.faultOf(event) === null)
        faults.add('log', 'the key of the MACs is older than AttemptMacsStarted')
      if (macs.faultOf(event) === null) {
        if (isBatchSealed(event)) batches.push(event)
        keys.read(event)
      }
      checkRoot()
    }
    onProgress?.(tree.size)
  }
  if (tree.size === 0 && heads.length === 0)
    throw new KolbakError('no_events', 'There is nothing to check, because this database has no event of a command and no head.')
  for (const { size } of heads.filter((kept) => kept.size > tree.size))
    faults.add(`head ${size}`, `the event store has ${tree.size} events`)
  const copy = await compareWithIndex(pools.reads, { head, indexedBefore, leaves, heads }, faults)
  await keys.check(pools.reads, faults)
  const checked = await checkBatches(shared, batches, batchesToCheck, faults)
  if (store.identity.startsWith('postgres')) await checkBytes(pools.reads, faults)
  if (macs.start === null && withMac > 0) faults.add('log', 'LogStarted is missing')
  const compared = readModels ? await checkReadModels(shared, projections, faults) : []
  const unchanged = await explainFaults(shared, faults, copy.intactSize)
  linkFaults(faults, { indexes: copy.indexes, unchanged, attempts: checked.attempts })
  return {
    events: tree.size,
    withMac,
    heads: heads.length,
    batches: checked.numbers,
    readModels: compared,
    size: tree.size,
    root: tree.root().toString('base64'),
    copyAgreesUpTo: copy.intactSize,
    faults: faults.list(),
  }
}

/** Compares the read models with the events. Returns their names. The audit log is left out, because the other checks cover it. */
async function checkReadModels({ pools, store }: Shared, projections: readonly Projection[], faults: Faults): Promise<string[]> {
  const compared: string[] = []
  for (const projection of projections) {
    if (projection.tables === undefined || projection.name === audit.name) continue
    const isCompared = await checkTables({ pool: pools.projections, store }, projection, ({ table, key, changes }) => {
      const where = `read model ${table}`
      const fault = `differs at ${key}: ${changes.length === 0 ? 'the row is not in both' : changes.map(({ field }) => field).join(' and ')}`
      faults.add(where, fault, { changes }, `${where} ${key}`)
    })
    if (!isCompared)
      throw new KolbakError('not_comparable', `The read model ${projection.name} was built by another version of Kolbak: use that version.`)
    compared.push(projection.name)
  }
  return compared
}

/**
 * Computes batches again, and compares them with the values in BatchSealed. A batch with expired events and a batch of a former event store cannot be
 * computed. Also returns the places of the faulty attempts of each batch.
 */
async function checkBatches(
  { store, pools, config, macs }: Pick<Shared, 'store' | 'pools' | 'config' | 'macs'>,
  batches: readonly BatchSealed[],
  most: number,
  faults: Faults,
): Promise<{ numbers: Verification['batches']; attempts: Map<string, string[]> }> {
  const since = await eventStoreSince(pools.reads)
  const firstDay = oldestWholeDay(config)
  const numbered = batches.map((batch, number) => ({ ...batch.data, number, time: batch.metadata.time }))
  const inThisStore = numbered.filter(({ time }) => time > since)
  // A batch begins where the one before it ended, so that no event can lie between two batches.
  const present = inThisStore.map((batch, i) => ({ ...batch, after: inThisStore[i - 1]?.through ?? batch.from }))
  const computable = present.filter(({ oldest_day }) => oldest_day >= firstDay)
  const chosen = computable.length <= most ? computable : computable.toSorted(() => Math.random() - 0.5).slice(0, most)
  const head = await store.head(dayFamilies)
  const attempts = new Map<string, string[]>()
  const checkAttempt = (event: RecordedEvent, batch: string) => {
    const fault = macs.faultOf(event)
    if (fault === null) return
    const where = `${event.stream}@${event.revision}`
    faults.add(where, `${fault} (mac)`)
    attempts.set(batch, [...(attempts.get(batch) ?? []), where])
  }
  for (const { number, after, through, count, root } of chosen) {
    const tree = createMerkleTree()
    const where = `batch ${number}`
    for await (const events of eventsOfBatch(store, head, { from: after, through }) ?? [])
      for (const event of events) {
        tree.push(leafHash(dayEntry(event)))
        checkAttempt(event, where)
      }
    if (tree.size !== count) faults.add(where, `${tree.size} events, sealed ${count}`)
    if (tree.root().toString('base64') !== root) faults.add(where, 'root differs')
  }
  // Attempts that are in no batch yet have MACs.
  const lastSealed = inThisStore.at(-1)?.through ?? ''
  const unsealed = macs.attemptsStart !== null && macs.attemptsStart > lastSealed ? macs.attemptsStart : lastSealed
  for await (const events of eventsOfBatch(store, head, { from: unsealed || null, through: head ?? '' }) ?? [])
    for (const event of events) checkAttempt(event, '')
  const expired = present.length - computable.length
  return { numbers: { sealed: batches.length, checked: chosen.length, expired, moved: batches.length - present.length }, attempts }
}

async function headsToCheck(
  { pools, config }: Pick<Shared, 'pools' | 'config'>,
  given: readonly string[],
  vkey: string,
  faults: Faults,
): Promise<KeptHead[]> {
  const stored = await listHeads(sqlOn(pools.reads))
  const genuine = stored.filter(({ note, size }) => {
    const isSigned = openHead(note, vkey) !== null
    if (!isSigned) faults.add(`head ${size}`, 'its signature is wrong')
    return isSigned
  })
  const fromOutside = given.map((note) => openKeptHead(note, vkey))
  const anchored = await readAnchor(anchorPath(config), vkey)
  const distinct = new Map([...genuine, ...anchored, ...fromOutside].map((head) => [`${head.size} ${head.root.toString('base64')}`, head]))
  return [...distinct.values()]
}

/** Checks events in the order of the log: their MACs, and their places in their streams. */
function createStreamChecks(macs: EventMacs, faults: Faults) {
  const last = new Map<string, { revision: number; hash: string; isFaulty: boolean }>()
  return {
    check(event: RecordedEvent) {
      const { stream, revision, metadata } = event
      const where = `${stream}@${revision}`
      const fault = macs.faultOf(event)
      if (fault !== null) faults.add(where, `${fault} (mac)`)
      try {
        upcast(event)
      } catch (error) {
        if (error instanceof EventNotReadable && fault === null) faults.add(where, 'newer than this version')
      }
      const before = last.get(stream) ?? { revision: -1, hash: null, isFaulty: false }
      if (revision > before.revision + 1)
        for (let missing = before.revision + 1; missing < Math.min(revision, before.revision + 100); missing++)
          faults.add(`${stream}@${missing}`, 'missing')
      else if (revision <= before.revision) faults.add(where, 'out of order')
      else if ((metadata.prev ?? null) !== before.hash && fault === null && !before.isFaulty)
        faults.add(`${stream}@${Math.max(0, revision - 1)}`, `altered (the next event names another hash)`)
      last.set(stream, { revision, hash: hashOf(event), isFaulty: faults.has(where) })
    },
  }
}

const pageSize = 5_000

/** Checks on Postgres that each text is exactly what Kolbak writes. Two members of one name, for example, would pass every other check. */
async function checkBytes(pool: Pool, faults: Faults): Promise<void> {
  const isExact = (text: string) => {
    try {
      return JSON.stringify(JSON.parse(text)) === text
    } catch {
      return false
    }
  }
  for (let after = 0n; ; ) {
    const rows = await sqlOn(pool)<{ position: bigint; stream: string; revision: number; data: string; metadata: string }>`
      select position, stream, revision, data, metadata from command_events where position > ${after} order by position limit ${pageSize}`
    for (const { stream, revision, data, metadata } of rows)
      if (!isExact(data) || !isExact(metadata)) faults.add(`${stream}@${revision}`, 'not as written (bytes)')
    const lastRow = rows.at(-1)
    if (lastRow === undefined || rows.length < pageSize) return
    after = BigInt(lastRow.position)
  }
}
