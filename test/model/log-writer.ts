import type { Pool } from 'pg'
import type { CommandStreams } from '../../src/commands/command-streams.ts'
import type { Log } from '../../src/lib/log.ts'
import type { EventStore } from '../../src/ports/event-store.ts'
import type { BatchSealer } from '../../src/service/batch-sealer.ts'
import type { Shared } from '../../src/service/shared.ts'
import type { World } from './world.ts'

/** Seconds after which a batch is sealed. They are few, so that a run has several batches. */
const batchSeconds = 0.4

interface LogDeps {
  readonly store: EventStore
  readonly streams: CommandStreams
  readonly pool: Pool
  readonly log: Log
}

/** Returns the sealer of one process. All projectors have one, so two of them often want to seal the same events. */
export function batchSealerOf({ code }: World, { store, streams, pool, log }: LogDeps): BatchSealer {
  const config = { KOLBAK_LOG_BATCH_SECONDS: batchSeconds } as Shared['config']
  // A projector of the model ends only by a kill, so nothing is closed.
  const parts = { add() {} } as unknown as Shared['parts']
  return code.batchSealer.createBatchSealer({
    store,
    streams,
    macs: code.macs,
    pools: { reads: pool } as Shared['pools'],
    config,
    parts,
    log,
  })
}
