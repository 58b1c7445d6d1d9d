import type { Config } from '../config/config.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { openHead, openLogSigner, readHead } from '../lib/log-signer.ts'
import { consistencyProof } from '../lib/merkle.ts'
import { inSnapshot, type Sql, sqlOn } from '../lib/sql.ts'
import { readLogNodes } from '../projections/audit.ts'
import { forkOf, type KeptHead, listHeads, logForked, newestCosignedHead } from '../projections/log-heads.ts'
import type { Place } from '../projections/stream-lists.ts'
import { withShared } from './online.ts'

/**
 * A proof of events, which docs/verify.mjs checks without Kolbak. Every hash is in base64. It has no member that the check ignores, so that no part of it
 * can be changed.
 */
export interface Proof {
  readonly format: 'kolbak-proof/1'
  /** The key of the log. A reader compares it with the key that was obtained elsewhere. */
  readonly key: string
  /** A head that contains all entries, as a signed note. */
  readonly head: string
  readonly entries: readonly ProvenEntry[]
  /** The sealed values that the proof shows, each with the blinding of its commitment. */
  readonly disclosed: readonly { readonly entry: number; readonly field: string; readonly blinding: string; readonly value: unknown }[]
  /** Smaller heads that the log still contains. */
  readonly consistency: readonly ConsistentHead[]
  /**
   * A signed note with the hashes of all command events of the proof, or null if it has none. It is made only for events with a genuine MAC. So nobody
   * can make a proof of an event that was appended by SQL, although its hash is in the tree.
   */
  readonly genuine: string | null
  /** The message that was not routed to the webhook. Absent in a proof of events. */
  readonly absent?: {
    readonly tenant: string
    readonly message: string
    readonly webhook: string
    /** Shows that the last change in the proof was the last one when a later StreamsListed was made. Absent if there is no such event. */
    readonly listed?: {
      /** The place of the StreamsListed in `entries`. */
      readonly entry: number
      /** The number of streams of the tenant in the list. */
      readonly streams: number
      readonly stream: Place
      readonly tenant: Place
    }
  }
}
interface ProvenEntry {
  /** The text whose hash is the leaf. */
  readonly entry: string
  /** The place in the log, or in the batch. */
  readonly index: number
  readonly path: readonly string[]
  /** The place in `entries` of the BatchSealed whose tree contains the entry. Absent for an event that is itself in the log. */
  readonly batch?: number
}

/** A head that the log still contains, with the path (in base64) that shows it. */
export interface ConsistentHead {
  readonly head: string
  readonly path: readonly string[]
}

/** Returns the newest head that this key has signed, or null. */
export async function newestHead(sql: Sql, vkey: string): Promise<KeptHead | null> {
  const [head] = await listHeads(sql, 1)
  return head === undefined || openHead(head.note, vkey) === null ? null : head
}

/** Returns the head in a note that was kept elsewhere. Throws `not_a_head` if this key has not signed it. */
export function openKeptHead(note: string, vkey: string): KeptHead {
  const head = openHead(note, vkey)
  if (head !== null) return { ...head, note, signed_at: null }
  throw new KolbakError(
    'not_a_head',
    readHead(note) === null ? 'The given text is no head of a log.' : 'The given head was signed by another key.',
  )
}

/**
 * Proves that the log with a head still contains other heads. Throws `log_forked` if it does not contain one of them.
 * @param options.others signed notes
 */
export async function proveConsistency(
  sql: Sql,
  { head, others, vkey }: { head: KeptHead; others: readonly string[]; vkey: string },
): Promise<ConsistentHead[]> {
  const proven: ConsistentHead[] = []
  for (const other of others.map((note) => openKeptHead(note, vkey))) {
    if (other.size === 0) continue
    const fork = await forkOf(sql, other)
    if (fork !== null) throw logForked(fork)
    if (other.size > head.size)
      throw new KolbakError('not_sealed', `The newest head has ${head.size} leaves and the given one ${other.size}: try again in a moment.`)
    const path = await consistencyProof(readLogNodes(sql), other.size, head.size)
    proven.push({ head: other.note, path: path.map((hash) => hash.toString('base64')) })
  }
  return proven
}

/**
 * Returns the newest head as a signed note, with the signatures of the witnesses that the service has asked. Throws `no_head` if none was signed yet.
 * @param options.isCosigned whether to return the newest head that a witness has signed
 */
export const readNewestHead = (config: Config, log: Log, { isCosigned }: { readonly isCosigned: boolean }): Promise<string> =>
  withShared(
    config,
    log,
    async ({ pools, keyring }) => {
      const { vkey } = await openLogSigner(keyring)
      const sql = sqlOn(pools.reads)
      const newest = await requireHead(sql, vkey)
      if (!isCosigned) return `${newest.note}${newest.cosignatures ?? ''}`
      const cosigned = await newestCosignedHead(sql)
      if (cosigned !== null && openHead(cosigned.note, vkey) !== null) return `${cosigned.note}${cosigned.cosignatures}`
      throw new KolbakError('no_head', 'No witness has signed a head yet: name witnesses in KOLBAK_LOG_WITNESSES, and wait a minute.')
    },
    { needsData: true },
  )
/** Returns the newest head. Throws `no_head` if none was signed yet. */
export async function requireHead(sql: Sql, vkey: string): Promise<KeptHead> {
  const head = await newestHead(sql, vkey)
  if (head === null)
    throw new KolbakError('no_head', 'No head was signed yet: the service signs the first one some seconds after its start.')
  return head
}

/** Returns a proof that the newest head contains heads which were kept elsewhere. @param notes signed notes */
export const proveHeads = (config: Config, log: Log, notes: readonly string[]): Promise<Proof> =>
  withShared(
    config,
    log,
    async ({ pools, keyring }) => {
      const { vkey } = await openLogSigner(keyring)
      return inSnapshot(pools.reads, async (sql) => {
        const head = await requireHead(sql, vkey)
        const consistency = await proveConsistency(sql, { head, others: notes, vkey })
        return { format: 'kolbak-proof/1', key: vkey, head: head.note, entries: [], disclosed: [], consistency, genuine: null }
      })
    },
    { needsData: true },
  )
