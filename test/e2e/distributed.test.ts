import { scenariosOn } from '../support/engine-sets.ts'

const scenarios = [
  './delivery.test.ts',
  './webhooks.test.ts',
  './clients.test.ts',
  './tenants.test.ts',
  './cli.test.ts',
  './two-processes.test.ts',
  '../faults/kill.test.ts',
  '../faults/kill-batches.test.ts',
].map((file) => new URL(file, import.meta.url))
await scenariosOn(['eventstoredb', 'kafka', 'cassandra'], scenarios)

// Each port alone on its engine: the one file in which processes share all three.
for (const engine of ['eventstoredb', 'kafka', 'cassandra'] as const)
  await scenariosOn([engine], [new URL('./two-processes.test.ts', import.meta.url)])
