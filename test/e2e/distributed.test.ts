import { sample, seed, seeded } from '../faults/crash-seed.ts'
import { scenariosOn } from '../support/engine-sets.ts'
import { isFull } from '../support/is-full.ts'

/** The tests of these files hardly depend on the engine. By default, a run uses one of the files. */
const hardlyDependOnEngine = ['webhooks', 'clients', 'tenants', 'replay', 'limits', 'observability'].map((name) => `./${name}.test.ts`)
/** The tests of these files send data that cannot be read. By default, a run uses one of the files. */
const poison = ['../faults/poison-records.test.ts', '../faults/poison-responses.test.ts', '../faults/poison-streams.test.ts']
const all = ['eventstoredb', 'kafka', 'cassandra'] as const
const scenariosOf = (files: readonly string[]) => files.map((file) => new URL(file, import.meta.url))

await scenariosOn(
  all,
  scenariosOf([
    './delivery.test.ts',
    './failing-receivers.test.ts',
    './two-of-every-role.test.ts',
    './live-tail.test.ts',
    '../faults/kill.test.ts',
    ...[hardlyDependOnEngine, poison].flatMap((files) => sample(files, isFull ? files.length : 1, seeded(seed))),
  ]),
)
if (isFull) {
  await scenariosOn(
    all,
    scenariosOf(['./cli.test.ts', './two-processes.test.ts', '../faults/kill-batches.test.ts', '../faults/kill-replay.test.ts']),
  )
  // Here only one port uses its engine. The other ports use Postgres.
  for (const engine of all) await scenariosOn([engine], scenariosOf(['./two-of-every-role.test.ts']))
}
