import type { Config } from '../config/config.ts'
import type { Log } from '../lib/log.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { sqlOn } from '../lib/sql.ts'
import type { WitnessAddress } from '../lib/witness.ts'
import { askWitness } from '../service/ask-witness.ts'
import { requireHead } from './log-proofs.ts'
import { withShared } from './online.ts'

/**
 * Returns the newest head as a signed note, with the signatures of witnesses. Throws KolbakError `log_forked` if a witness has seen another log, and
 * `witness_failed`.
 */
export const cosignedHead = (config: Config, log: Log, witnesses: readonly WitnessAddress[]): Promise<string> =>
  withShared(
    config,
    log,
    async ({ pools, keyring }) => {
      const { vkey } = await openLogSigner(keyring)
      const head = await requireHead(sqlOn(pools.reads), vkey)
      let { note } = head
      for (const witness of witnesses) note += await askWitness(pools.reads, head, witness)
      return note
    },
    { needsData: true },
  )
