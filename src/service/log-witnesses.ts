import { step } from '../events/steps.ts'
import { codeOf } from '../lib/errors.ts'
import { cosignedAt, openLogSigner } from '../lib/log-signer.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import { untilPoll } from '../lib/wake.ts'
import { type KeptHead, listHeads, storeCosignature } from '../projections/log-heads.ts'
import { askWitness } from './ask-witness.ts'
import type { LogHeads } from './log-heads.ts'
import type { Shared } from './shared.ts'

/**
 * Every KOLBAK_LOG_WITNESS_SECONDS, one process sends the newest head of the audit log to each of KOLBAK_LOG_WITNESSES that has not signed it
 * yet. If a witness has signed a head that the log does not extend, then the log was changed, and no further head is signed.
 */
export function startLogWitnesses(shared: Shared, { stopForked }: Pick<LogHeads, 'stopForked'>): void {
  const { pools, leases, keyring, config, parts, log } = shared
  const witnesses = config.KOLBAK_LOG_WITNESSES
  if (witnesses.length === 0) return
  const stopping = new AbortController()
  /** The last head that every witness has signed. */
  let signedByAll: string | null = null

  const newestHead = async (): Promise<KeptHead | undefined> => (await listHeads(sqlOn(pools.reads), 1))[0]
  const askAll = async () => {
    const { vkey } = await openLogSigner(keyring)
    const head = await newestHead()
    // The head of another log is not sent out. It can be there only after somebody has put back a part of the database.
    if (head === undefined || !vkey.startsWith(`${head.origin}+`)) return
    const results = await Promise.all(
      witnesses.map(async (witness) => {
        if (cosignedAt(`${head.note}${head.cosignatures}`, witness.vkey) !== null) return true
        try {
          const line = await askWitness(pools.reads, head, witness)
          await step('log.cosignature', () => storeCosignature(pools.reads, head, line))
          return true
        } catch (error) {
          // If another process has sent a newer head meanwhile, the witness has seen a larger log, so its refusal does not prove a fork.
          const isForked = codeOf(error) === 'log_forked' && (await newestHead())?.size === head.size
          if (isForked) stopForked((error as Error).message)
          else log.warn({ error, witness: witness.url }, 'log.witness_failed')
          return false
        }
      }),
    )
    if (results.every((isSigned) => isSigned)) signedByAll = head.note
  }
  const run = async () => {
    if ((await newestHead())?.note !== signedByAll) {
      const lease = await leases.take('log witnesses')
      if (lease !== null) await askAll().finally(() => lease.release())
    }
    await pause(untilPoll(config.KOLBAK_LOG_WITNESS_SECONDS * 1_000), stopping.signal)
  }
  const running = keepRunning(run, { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.witness_failed') })
  parts.add('log witnesses', async () => {
    stopping.abort()
    await running
  })
}
