import { scenariosOn } from '../support/engine-sets.ts'
import { isFull } from '../support/is-full.ts'

const scenarios = [
  './delivery.test.ts',
  './webhooks.test.ts',
  './clients.test.ts',
  './tenants.test.ts',
  './cli.test.ts',
  './two-processes.test.ts',
  './two-of-every-role.test.ts',
  '../faults/kill.test.ts',
  '../faults/kill-batches.test.ts',
].map((file) => new URL(file, import.meta.url))
await scenariosOn(['eventstoredb', 'kafka', 'cassandra'], scenarios)

// Each port alone on its engine, in the file in which processes share all three; by default one of them.
for (const engine of isFull ? (['eventstoredb', 'kafka', 'cassandra'] as const) : (['kafka'] as const))
  await scenariosOn([engine], [new URL('./two-of-every-role.test.ts', import.meta.url)])
