import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BatchSealed, isBatchSealed } from '../commands/log-events.ts'
import type { Config } from '../config/config.ts'
import type { EventId } from '../events/ids.ts'
import { dayEntry, leafHash, storedEntry } from '../events/leaf.ts'
import type { LogEvents } from '../events/log.ts'
import { dayFamilies } from '../events/streams.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { createMerkleTree, rootOfLeaves } from '../lib/merkle.ts'
import { inSnapshot, sqlOn } from '../lib/sql.ts'
import { auditedPage, recordedOf } from '../projections/audit.ts'
import { logForked } from '../projections/log-heads.ts'
import { lastStreamList, placeOfTenant } from '../projections/stream-lists.ts'
import { eventStoreSince } from '../service/batch-sealer.ts'
import type { Shared } from '../service/shared.ts'
import { eventsOfBatch, oldestWholeDay } from './batch-events.ts'
import { requireHead } from './log-proofs.ts'
import { withShared } from './online.ts'

export interface ExportOptions {
  /** The tenant whose events are shown. Other tenants' events are shown as hashes. By default all events are shown. */
  readonly tenant?: string
  /** Whether to write the attempts and routing events of each batch that the retention has not dropped. */
  readonly attempts?: boolean
  /** Called after each page, with the number of entries so far. */
  onProgress?(entries: number): void
}
export interface Exported {
  readonly size: number
  readonly batches: number
  /** The indexes of events that are not what Kolbak has written. */
  readonly forged: readonly number[]
  /** The attempts that are not what Kolbak has written. A batch seals them like any other. */
  readonly forgedAttempts: readonly ForgedAttempt[]
}
interface ForgedAttempt {
  /** The index of the BatchSealed. */
  readonly batch: number
  readonly id: EventId
}

/** A BatchSealed with its index in the audit log. */
type NumberedBatch = BatchSealed & { readonly index: number }

const pageSize = 500

/**
 * Writes the audit log into an empty folder, for docs/verify.mjs:
 *
 * - `entries.jsonl`: the text of each event in the order of the indexes, or the hash of the leaf in quotes if the event is of another tenant;
 * - `batches/<index of the BatchSealed>.jsonl`: the events of a batch in the same form;
 * - `manifest.json`, written last: the head, and a signed note that says what the export contains.
 *
 * Throws KolbakError: `no_head`, `log_forked`, `folder_not_empty`.
 */
export const exportLog = (config: Config, log: Log, folder: string, options: ExportOptions = {}): Promise<Exported> =>
  withShared(config, log, (shared) => exportFrom(shared, folder, options), { needsData: true })

async function exportFrom(shared: Shared, folder: string, options: ExportOptions): Promise<Exported> {
  const { tenant, attempts = false, onProgress } = options
  const signer = await openLogSigner(shared.keyring)
  const head = await requireHead(sqlOn(shared.pools.reads), signer.vkey)
  await createFolder(folder)
  const isShown = (owner: string) => tenant === undefined || owner === tenant
  const tree = createMerkleTree()
  const forged: number[] = []
  const sealed: NumberedBatch[] = []
  const sha256 = await writeLines(join(folder, 'entries.jsonl'), async (write) => {
    while (tree.size < head.size) {
      const rows = await auditedPage(sqlOn(shared.pools.reads), tree.size, Math.min(pageSize, head.size - tree.size))
      if (rows.length === 0)
        throw logForked(`The audit log ends at ${tree.size}, but its newest head has ${head.size} entries. Run: kolbak audit verify`)
      for (const row of rows) {
        const entry = storedEntry(row)
        const event = recordedOf(row)
        tree.push(leafHash(entry))
        if (shared.macs.faultOf(event) !== null) forged.push(Number(row.index))
        else if (isBatchSealed(event)) sealed.push({ index: Number(row.index), ...event })
        await write(lineOf(entry, isShown(event.metadata.tenant) || row.family === 'log'))
      }
      onProgress?.(tree.size)
    }
  })
  if (!tree.root().equals(head.root))
    throw logForked(`The audit log does not have the root of its newest head of ${head.size} entries. Run: kolbak audit verify`)
  const exported = attempts ? await exportBatches(shared, join(folder, 'batches'), sealed, isShown) : { batches: [], forgedAttempts: [] }
  const { batches, forgedAttempts } = exported
  const lines = ['kolbak-export/1', `tenant ${tenant ?? '*'}`, `entries ${sha256}`]
  for (const index of forged) lines.push(`forged ${index}`)
  for (const index of batches) lines.push(`batch ${index}`)
  for (const { batch, id } of forgedAttempts) lines.push(`forged-attempt ${batch} ${id}`)
  const confirmed = signer.signText(`${lines.join('\n')}\n`)
  const listed = tenant === undefined ? null : await listOf(shared, head.size, tenant)
  const manifest = { format: 'kolbak-export/1', key: signer.vkey, head: head.note, confirmed, ...(listed === null ? {} : { listed }) }
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  return { size: head.size, batches: batches.length, forged, forgedAttempts }
}

/** Returns the line of an entry: its text, or the hash of its leaf in quotes. */
const lineOf = (entry: string, isShown: boolean): string => (isShown ? entry : JSON.stringify(leafHash(entry).toString('base64')))

/** Returns the place of the tenant in the last StreamsListed that the head contains, or null if there is none. */
const listOf = ({ pools }: Shared, headSize: number, tenant: string) =>
  inSnapshot(pools.reads, async (sql) => {
    const list = await lastStreamList(sql, headSize)
    if (list === null) return null
    const { size } = JSON.parse(list.data) as LogEvents['StreamsListed']
    const place = await placeOfTenant(sql, size, tenant)
    return place === null ? null : { entry: Number(list.index), size, ...place }
  })

/** Creates the folder, or accepts an existing one in which no export was begun. */
async function createFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  try {
    await (await open(join(folder, 'entries.jsonl'), 'wx', 0o600)).close()
  } catch (cause) {
    if (codeOf(cause) !== 'EEXIST') throw cause
    throw new KolbakError('folder_not_empty', `${folder} contains an export already: name another folder.`)
  }
}

/** Writes lines to a file. Returns the SHA-256 (hex) of the file. */
async function writeLines(path: string, work: (write: (line: string) => Promise<void>) => Promise<void>): Promise<string> {
  const hash = createHash('sha256')
  let file: FileHandle | undefined
  let waiting: string[] = []
  let bytes = 0
  const flush = async () => {
    const text = waiting.map((line) => `${line}\n`).join('')
    hash.update(text)
    await file?.write(text)
    waiting = []
    bytes = 0
  }
  try {
    file = await open(path, 'w', 0o600)
    await work(async (line) => {
      waiting.push(line)
      bytes += line.length
      if (bytes > 1 << 20) await flush()
    })
    await flush()
    await file.sync()
  } finally {
    await file?.close()
  }
  return hash.digest('hex')
}

/** Writes the events of each batch that can still be computed. Returns the indexes of these batches, and the forged attempts that are shown. */
async function exportBatches(
  { store, pools, config, macs }: Shared,
  folder: string,
  sealed: readonly NumberedBatch[],
  isShown: (tenant: string) => boolean,
): Promise<{ batches: number[]; forgedAttempts: ForgedAttempt[] }> {
  await mkdir(folder, { mode: 0o700 })
  const since = await eventStoreSince(pools.reads)
  const firstDay = oldestWholeDay(config)
  const head = await store.head(dayFamilies)
  const batches: number[] = []
  const forgedAttempts: ForgedAttempt[] = []
  for (const { index, data, metadata } of sealed) {
    const events = eventsOfBatch(store, head, data)
    if (metadata.time <= since || data.oldest_day < firstDay || events === null) continue
    const leaves: Buffer[] = []
    await writeLines(join(folder, `${index}.jsonl`), async (write) => {
      for await (const page of events)
        for (const event of page) {
          const entry = dayEntry(event)
          leaves.push(leafHash(entry))
          const shows = isShown(event.metadata.tenant)
          if (shows && macs.faultOf(event) !== null) forgedAttempts.push({ batch: index, id: event.id })
          await write(lineOf(entry, shows))
        }
    })
    if (rootOfLeaves(leaves).toString('base64') !== data.root)
      throw new KolbakError(
        'batch_altered',
        `The batch of entry ${index} has another root than BatchSealed names: its events were changed. Run: kolbak audit verify --batches all`,
      )
    batches.push(index)
  }
  return { batches, forgedAttempts }
}
