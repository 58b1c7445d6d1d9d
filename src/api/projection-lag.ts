import type { Checkpoint } from '../events/envelope.ts'
import type { StreamName } from '../events/streams.ts'
import type { Projection } from '../projections/projection.ts'
import { type ApiDependencies, defaultWaits } from './dependencies.ts'

type Waits = Pick<ApiDependencies, 'waiter' | 'settings'>

/**
 * Waits a bounded time until a projection has processed a stored event. If the time was too short, the returned header `Projection-Lag` names the
 * projection.
 */
export async function awaitProjection(
  { waiter, settings }: Waits,
  name: string,
  position: Checkpoint,
  stream?: StreamName,
): Promise<Record<string, string>> {
  const hasProcessed = await waiter.waitFor(name, position, settings.projectionWaitMs ?? defaultWaits.projectionWaitMs, stream)
  return hasProcessed ? {} : { 'projection-lag': name }
}

/** Does the same for all events that are stored now, for reads that should include every earlier event. */
export async function awaitHead(
  deps: Waits & Pick<ApiDependencies, 'store'>,
  { name, families }: Pick<Projection, 'name' | 'families'>,
): Promise<Record<string, string>> {
  const head = await deps.store.head(families)
  return head === null ? {} : awaitProjection(deps, name, head)
}
