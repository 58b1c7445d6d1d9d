import type { Config } from '../config/config.ts'
import type { Log } from '../lib/log.ts'
import { checkEngines } from '../service/engine-checks.ts'
import { chooseEngines } from '../service/engines/table.ts'
import { createOperator, type Operator } from '../service/operator.ts'
import { createParts } from '../service/parts.ts'
import { openProjections } from '../service/projections.ts'
import { openShared } from '../service/shared.ts'

/**
 * Runs an operator's work beside a running service. The process has no role, does not listen, and does not wait for engines. If the service uses an
 * embedded Postgres, that Postgres stays running.
 */
export async function withOperator<T>(config: Config, log: Log, work: (operator: Operator) => Promise<T>): Promise<T> {
  const parts = createParts(log)
  try {
    const patience = { log, signal: new AbortController().signal, waits: false }
    const shared = await openShared({ config, log, engines: chooseEngines(config), patience, parts, roles: [], besideService: true })
    const projections = await openProjections(shared)
    await checkEngines({ store: shared.store, bus: shared.bus, pool: shared.pools.reads })
    return await work(createOperator(shared, projections))
  } finally {
    await parts.stop()
  }
}
