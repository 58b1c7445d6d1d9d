import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { EventMacs } from '../../src/lib/event-macs.ts'
import type { ServiceSecrets } from '../../src/lib/keyring.ts'

/** The modules under test: those of src, perhaps with a planted mistake. */
interface Modules {
  readonly acknowledged: typeof import('../../src/projections/acknowledged-changes.ts')
  readonly commandStreams: typeof import('../../src/commands/command-streams.ts')
  readonly handler: typeof import('../../src/commands/handler.ts')
  readonly webhookCommands: typeof import('../../src/commands/webhook.ts')
  readonly consume: typeof import('../../src/dispatch/consume.ts')
  readonly deliver: typeof import('../../src/dispatch/deliver.ts')
  readonly due: typeof import('../../src/dispatch/due.ts')
  readonly endpointManager: typeof import('../../src/dispatch/endpoint-manager.ts')
  readonly gate: typeof import('../../src/dispatch/routing-gate.ts')
  readonly messageIndex: typeof import('../../src/projections/message-index.ts')
  readonly metrics: typeof import('../../src/dispatch/metrics.ts')
  readonly offsets: typeof import('../../src/dispatch/offsets.ts')
  readonly retries: typeof import('../../src/dispatch/retries.ts')
  readonly route: typeof import('../../src/dispatch/route.ts')
  readonly schedule: typeof import('../../src/dispatch/schedule.ts')
  readonly slots: typeof import('../../src/dispatch/slots.ts')
  readonly storedMatch: typeof import('../../src/dispatch/stored-match.ts')
  readonly stageHealth: typeof import('../../src/dispatch/stage-health.ts')
  readonly webhookCache: typeof import('../../src/dispatch/webhook-cache.ts')
  readonly webhooks: typeof import('../../src/projections/webhooks.ts')
  readonly deliveries: typeof import('../../src/projections/deliveries.ts')
  readonly liveDeliveryLog: typeof import('../../src/projections/live-delivery-log.ts')
  readonly buildRunner: typeof import('../../src/projections/build-runner.ts')
  readonly eventStore: typeof import('../../src/ports/event-store.ts')
  readonly readable: typeof import('../../src/adapters/eventstoredb/readable.ts')
  readonly messageBus: typeof import('../../src/ports/message-bus.ts')
  readonly erasure: typeof import('../../src/commands/erasure.ts')
  readonly erasureManager: typeof import('../../src/dispatch/erasure-manager.ts')
  readonly eventMacs: typeof import('../../src/lib/event-macs.ts')
  readonly batchSealer: typeof import('../../src/service/batch-sealer.ts')
}
/** The modules under test, and what all runs with them share. */
export interface Code extends Modules {
  /** The MACs of all events in the model. Every event must have one. */
  readonly macs: EventMacs
}
const paths: Readonly<Record<keyof Modules, string>> = {
  acknowledged: 'projections/acknowledged-changes.ts',
  commandStreams: 'commands/command-streams.ts',
  handler: 'commands/handler.ts',
  webhookCommands: 'commands/webhook.ts',
  consume: 'dispatch/consume.ts',
  deliver: 'dispatch/deliver.ts',
  due: 'dispatch/due.ts',
  endpointManager: 'dispatch/endpoint-manager.ts',
  gate: 'dispatch/routing-gate.ts',
  messageIndex: 'projections/message-index.ts',
  metrics: 'dispatch/metrics.ts',
  offsets: 'dispatch/offsets.ts',
  retries: 'dispatch/retries.ts',
  route: 'dispatch/route.ts',
  schedule: 'dispatch/schedule.ts',
  slots: 'dispatch/slots.ts',
  storedMatch: 'dispatch/stored-match.ts',
  stageHealth: 'dispatch/stage-health.ts',
  webhookCache: 'dispatch/webhook-cache.ts',
  webhooks: 'projections/webhooks.ts',
  deliveries: 'projections/deliveries.ts',
  liveDeliveryLog: 'projections/live-delivery-log.ts',
  buildRunner: 'projections/build-runner.ts',
  eventStore: 'ports/event-store.ts',
  readable: 'adapters/eventstoredb/readable.ts',
  messageBus: 'ports/message-bus.ts',
  erasure: 'commands/erasure.ts',
  erasureManager: 'dispatch/erasure-manager.ts',
  eventMacs: 'lib/event-macs.ts',
  batchSealer: 'service/batch-sealer.ts',
}
export const src = join(import.meta.dirname, '../../src')

const firstPosition = '0'.repeat(20)
/** The secrets of the service in the model. The key of the MACs says that every event must have a MAC. */
const secrets: ServiceSecrets = {
  secret: async (purpose, length) =>
    Buffer.concat([Buffer.alloc(length, 7), Buffer.from(purpose === 'event-mac' ? `${firstPosition} ${firstPosition}` : 'kolbak/model')]),
  replaceSecret: async () => {},
}

/** Loads the modules under test. @param query a part of their URLs. A new query loads the modules anew. */
export async function loadCode(query = ''): Promise<Code> {
  const loaded = await Promise.all(
    Object.entries(paths).map(async ([name, path]) => [name, await import(pathToFileURL(join(src, path)).href + query)] as const),
  )
  const modules = Object.fromEntries(loaded) as unknown as Modules
  return { ...modules, macs: await modules.eventMacs.openEventMacs(secrets) }
}
