import type { Config } from '../config/config.ts'
import type { Log } from '../lib/log.ts'
import type { Projection } from '../projections/projection.ts'
import { checkHasData } from '../service/database.ts'
import { checkEngines } from '../service/engine-checks.ts'
import { chooseEngines } from '../service/engines/table.ts'
import { createOperator, type Operator } from '../service/operator.ts'
import { createParts } from '../service/parts.ts'
import { openProjections } from '../service/projections.ts'
import { openShared, type Shared } from '../service/shared.ts'
import { type Act, recorded } from './recorded-act.ts'

/**
 * Runs work beside a running service. The process has no role, does not listen, and does not wait for engines. If the service uses an embedded
 * Postgres, that Postgres stays running.
 * @param options.besideService whether the service may run meanwhile. With false, `check` must make sure that it does not run.
 * @param options.check throws if the work must not be done
 * @param options.needsData whether to refuse a folder or a database without data, instead of preparing it for a service
 */
export async function withShared<T>(
  config: Config,
  log: Log,
  work: (shared: Shared, projections: readonly Projection[]) => Promise<T>,
  options: { besideService?: boolean; check?: (shared: Shared) => Promise<void>; needsData?: boolean } = {},
): Promise<T> {
  const { besideService = true, check = async () => {}, needsData = false } = options
  if (needsData) await checkHasData(config, log)
  const parts = createParts(log)
  try {
    const patience = { log, signal: new AbortController().signal, waits: false }
    const shared = await openShared({ config, log, engines: chooseEngines(config), patience, parts, roles: [], besideService })
    await check(shared)
    return await work(shared, await openProjections(shared))
  } finally {
    await parts.stop()
  }
}

/** The work of an operator's command. */
export type OperatorWork<T> = (operator: Operator, context: { shared: Shared; projections: readonly Projection[] }) => Promise<T>
/** Runs an operator's work beside a running service. @param act the command, if it changes something, for the audit log */
export const withOperator = <T>(config: Config, log: Log, work: OperatorWork<T>, act?: Act): Promise<T> =>
  withShared(config, log, async (shared, projections) => {
    await checkEngines({ store: shared.store, bus: shared.bus, pool: shared.pools.reads })
    const run = () => work(createOperator(shared, projections), { shared, projections })
    return act === undefined ? run() : recorded(shared, act, run)
  })
