import { mkdir, open, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Config } from '../config/config.ts'
import { step } from '../events/steps.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import { openHead, openLogSigner } from '../lib/log-signer.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { inSnapshot, sqlOn } from '../lib/sql.ts'
import { untilPoll } from '../lib/wake.ts'
import { audit, readLogState } from '../projections/audit.ts'
import { forkOf, type KeptHead, listHeads, logForked, storeHead, thinHeads } from '../projections/log-heads.ts'
import { projectionNames } from '../projections/names.ts'
import type { Shared } from './shared.ts'

/** Returns the path of the anchor file, which keeps every head outside of the database. */
export const anchorPath = ({ KOLBAK_LOG_ANCHOR: path, KOLBAK_DATA_DIR: dataDir }: Pick<Config, 'KOLBAK_LOG_ANCHOR' | 'KOLBAK_DATA_DIR'>) =>
  path ?? join(dataDir, 'log-anchor.jsonl')

/** Returns the heads of a log in an anchor file, newest first. A line that is cut off or not signed by this key is skipped. */
export async function readAnchor(path: string, vkey: string): Promise<KeptHead[]> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return ''
    throw new KolbakError('anchor_unreadable', `${path} cannot be read: make it readable, or set KOLBAK_LOG_ANCHOR.`, { cause: error })
  })
  const heads: KeptHead[] = []
  for (const line of text.split('\n'))
    try {
      const { note, signed_at } = JSON.parse(line) as { note: string; signed_at: string }
      const head = openHead(note, vkey)
      if (head !== null) heads.unshift({ ...head, note, signed_at })
    } catch {
      // The process was killed while it wrote the line, or the line is not from Kolbak. The heads before and after it still count.
    }
  return heads
}

async function appendToAnchor(path: string, { note, signed_at }: Pick<KeptHead, 'note' | 'signed_at'>): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const file = await open(path, 'a', 0o600)
  try {
    // The line break comes first, because the last line of the file may have been cut off by a crash.
    await file.appendFile(`\n${JSON.stringify({ signed_at, note })}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Milliseconds for which the start waits until the audit log has every stored event. */
const catchUpMs = 60_000

/**
 * Throws log_forked if the audit log is not an extension of every head that was given out: events are missing or were changed. If the log has not
 * caught up in time, the check is left to the signer of heads.
 */
export async function checkLog(shared: Pick<Shared, 'store' | 'waiter' | 'pools' | 'keyring' | 'config' | 'log'>): Promise<void> {
  const { store, waiter, pools, keyring, config, log } = shared
  const { vkey } = await openLogSigner(keyring)
  const end = await store.head(audit.families)
  if (end !== null && !(await waiter.waitFor(projectionNames.audit, end, catchUpMs))) {
    log.warn({}, 'log.behind')
    return
  }
  for (const head of [...(await listHeads(sqlOn(pools.reads), 1)), ...(await readAnchor(anchorPath(config), vkey)).slice(0, 1)]) {
    const fork = await forkInSnapshot(shared, head)
    if (fork !== null) throw logForked(fork)
  }
}
/** Returns `forkOf` of the live build. All its reads see the same state. */
const forkInSnapshot = ({ pools }: Pick<Shared, 'pools'>, head: KeptHead): Promise<string | null> =>
  inSnapshot(pools.reads, (sql) => forkOf(sql, head))

export interface LogHeads {
  /** A sentence that says why no further head is signed, or null. */
  readonly problem: string | null
  /** Signs no further head, because the log is not an extension of a head that was given out. */
  stopForked(why: string): void
}

/**
 * Signs a head of the audit log every KOLBAK_LOG_HEAD_SECONDS if the log has grown, in one process at a time. A head is signed only if the log
 * extends three heads: the last one in the table, the last one of this process, and the last one in the anchor file. Otherwise no head is signed until
 * the service is started again, because two signed heads would then contradict each other.
 */
export function startLogHeads(shared: Shared): LogHeads {
  const { pools, leases, keyring, macs, config, parts, log } = shared
  const path = anchorPath(config)
  const stopping = new AbortController()
  let problem: string | null = null
  let lastSigned: KeptHead | undefined
  let thinnedAt = 0

  const stopForked = (why: string) => {
    problem = why
    log.error({ why }, 'log.forked')
    stopping.abort()
  }
  const lastHeads = async (vkey: string): Promise<KeptHead[]> => {
    const [lastStored] = await listHeads(sqlOn(pools.reads), 1)
    // The file is read only before the first head of this process. After that, `lastSigned` is the last head in the file.
    const anchored = lastSigned === undefined ? (await readAnchor(path, vkey))[0] : undefined
    return [lastStored, anchored, lastSigned].filter((head) => head !== undefined)
  }
  const signNext = async () => {
    const signer = await openLogSigner(keyring)
    const { size, root } = await readLogState(pools.reads)
    const heads = await lastHeads(signer.vkey)
    const newest = Math.max(0, ...heads.map((head) => head.size))
    if (size === newest && lastSigned?.size === size) return
    for (const head of heads) {
      const fork = await forkInSnapshot(shared, head)
      if (fork !== null) return stopForked(fork)
    }
    if (size === 0) return
    const head: KeptHead = { origin: signer.origin, size, root, note: signer.sign({ size, root }), signed_at: new Date().toISOString() }
    await step('log.head', () => storeHead(pools.reads, head))
    await step('log.anchor', () => appendToAnchor(path, head)).catch((error: unknown) => {
      log.error({ error, path }, 'log.anchor_failed')
      throw error
    })
    lastSigned = head
  }
  const run = async () => {
    await pause(untilPoll(config.KOLBAK_LOG_HEAD_SECONDS * 1_000), stopping.signal)
    if (stopping.signal.aborted || macs.start === null) return
    // A log that has not grown needs no lease, and costs one query.
    if ((await readLogState(pools.reads)).size === lastSigned?.size) return
    const lease = await leases.take('log')
    if (lease === null) return
    try {
      await signNext()
      if (performance.now() - thinnedAt > 3_600_000) {
        await thinHeads(pools.reads)
        thinnedAt = performance.now()
      }
    } finally {
      await lease.release()
    }
  }
  const running = keepRunning(run, { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.head_failed') })
  parts.add('log heads', async () => {
    stopping.abort()
    await running
    // The last changes before the stop also get a head. If the data are replaced while no process runs, the next start then detects it.
    if (problem === null && macs.start !== null) await signNext().catch((error: unknown) => log.warn({ error }, 'log.head_failed'))
  })
  return {
    get problem() {
      return problem
    },
    stopForked,
  }
}
