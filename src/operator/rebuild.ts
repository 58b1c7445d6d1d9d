import type { Family } from '../events/streams.ts'
import { dayFamilies, familyOf, type StreamName } from '../events/streams.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import type { Projection } from '../projections/projection.ts'
import type { Operator } from '../service/operator.ts'
import type { Shared } from '../service/shared.ts'
import { verifyLog } from './verify.ts'
import type { Fault } from './verify-faults.ts'

/** The most faults that an error names. */
const maxNamed = 3

/**
 * Orders a new build of a read model. First it checks the events from which the read model is built, because a build leaves out faulty events and all
 * that follow them in their streams: a webhook would go back to an older revision, and the rows that show what was changed would be lost.
 * Throws `events_faulty` if an event has a fault.
 */
export async function rebuildChecked(
  { shared, operator, projections }: { shared: Shared; operator: Operator; projections: readonly Projection[] },
  name: string,
  { isDespiteFaults }: { isDespiteFaults: boolean },
): Promise<number> {
  const projection = projections.find((candidate) => candidate.name === name)
  if (projection !== undefined && !isDespiteFaults) {
    const faults = await faultsOf(shared, projection)
    const [first] = faults
    if (first !== undefined) throw eventsFaulty(name, faults)
  }
  return operator.rebuild(name)
}

/** Returns the faults of the events that the projection reads. */
async function faultsOf(shared: Shared, { families }: Projection): Promise<Fault[]> {
  const readsDays = families.some((family) => dayFamilies.includes(family))
  try {
    const { faults } = await verifyLog(shared, { batches: readsDays ? Number.POSITIVE_INFINITY : 0 })
    return faults.filter((fault) => fault.follows_from === undefined && concerns(fault, families, readsDays))
  } catch (error) {
    if (codeOf(error) === 'no_events') return []
    throw error
  }
}
function concerns({ where }: Fault, families: readonly Family[], readsDays: boolean): boolean {
  if (where.includes('@')) return families.includes(familyOf(where as StreamName))
  return where.startsWith('head ') || (readsDays && where.startsWith('batch '))
}

function eventsFaulty(name: string, faults: readonly Fault[]): KolbakError {
  const named = faults.slice(0, maxNamed).map(({ where, fault }) => `${where} ${fault}`)
  const others = faults.length > maxNamed ? `, and ${faults.length - maxNamed} more` : ''
  return new KolbakError(
    'events_faulty',
    `The events of ${name} have faults: ${named.join('; ')}${others}. A new build would leave out these events and those after them, and the rows that ` +
      'show what was changed would be lost. Run `kolbak audit verify --read-models`, keep a backup, and then rebuild with --despite-faults.',
  )
}
