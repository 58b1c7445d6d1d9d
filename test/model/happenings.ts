import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId, MessageId } from '../../src/events/ids.ts'
import { encodeRecord, type MessageRecord } from '../../src/events/message-record.ts'
import { command, create, eraseMessage, hold, hostOf, post, replayDelivery, suspend, tenantOf, webhookOf } from './callers.ts'
import { calmAt, type Step } from './plan.ts'
import { faultyEvent, type World } from './world.ts'

/** Does the work in the process of the API, when that process runs. */
function byApi(world: World, work: () => Promise<void>): void {
  const { simulation } = world
  const apiLife = simulation.lifeOf('api')!
  if (apiLife.alive) simulation.resume({ simulation, life: apiLife }, () => void work())
  else simulation.at(simulation.now + 30, () => byApi(world, work))
}
type Of<K extends Step['kind']> = Extract<Step, { kind: K }>
const byOwner = (world: World, step: Of<'change' | 'activate' | 'deactivate' | 'delete'>) => byApi(world, () => command(world, step))

/** Empties the read model of webhooks, which is then rebuilt from its events. Meanwhile no message may be routed as if there were no webhooks. */
function rewind({ tables, simulation, dispatchers }: World): void {
  const row = tables.projections.get('webhooks')!
  row.checkpoint = null
  row.lifted++
  tables.webhooks.clear()
  tables.tenants.clear()
  const running = ['projector1', 'projector2', ...Array.from({ length: dispatchers }, (_, i) => `dispatcher${i + 1}`)]
  for (const process of running) simulation.kill(process, 50)
}

const faultyRecord: MessageRecord = {
  tenant: tenantOf('A'),
  accepted_at: new Date(Date.UTC(2026, 0, 1)).toISOString(),
  correlation_id: 'faulty',
  messages: [
    { id: 'faulty' as MessageId, event: faultyEvent, event_time: null, source: null, fingerprint: 'x', sealedBody: Buffer.from('{}') },
  ],
}

function forge(world: World, step: Of<'forge'>): void {
  const { events, truth, simulation } = world
  const { hook, as } = step
  // The stored data do not repeat the webhook, which is in the name of the stream.
  const isOfHook = ({ type, stream }: RecordedEvent) => type === 'DeliveryFailed' && stream.startsWith(`attempts-${webhookOf(hook)}-`)
  const genuine = events.all.findLast(isOfHook)
  if (genuine === undefined) {
    if (simulation.now < calmAt) simulation.at(simulation.now + 100, () => forge(world, step))
    return
  }
  const { delay_seconds: _, ...data } = genuine.data as { delay_seconds?: number }
  const forged = { ...data, ...(as === 'DeliverySucceeded' ? { code: 200, reason: null } : { code: 410, reason: 'http_410' }) }
  const id = `${genuine.id.slice(0, -4)}f0e0` as EventId
  truth.forged.set(id, webhookOf(hook))
  events.write(genuine.stream, [{ id, type: as, data: forged, metadata: genuine.metadata }], 'any')
}

/** The effect of each kind of step on the world. */
const happenings: { readonly [K in Step['kind']]: (world: World, step: Of<K>) => void } = {
  create: (world, step) => byApi(world, () => create(world, step)),
  change: byOwner,
  activate: byOwner,
  deactivate: byOwner,
  delete: byOwner,
  post: (world, step) => byApi(world, () => post(world, step)),
  replay: (world, step) => byApi(world, () => replayDelivery(world, step)),
  forge,
  erase: (world, step) => byApi(world, () => eraseMessage(world, step)),
  hold: hold,
  suspend: (world) => suspend(world, true),
  resume: (world) => suspend(world, false),
  partition: ({ bus }) => bus.addPartition(),
  garbage({ bus, truth }) {
    truth.garbage.add(`0/${bus.partitions[0]!.records.length}`)
    bus.store(0, Buffer.from('not a record'), false)
  },
  faulty({ bus, truth }) {
    truth.faulty.add(`0/${bus.partitions[0]!.records.length}`)
    bus.store(0, encodeRecord(faultyRecord), false)
  },
  respond({ receivers }, { hook, mode }) {
    receivers.modes.set(hostOf(hook), mode)
  },
  stopReaders: ({ events }, { family, ms }) => events.stopReaders(family, ms),
  lag: ({ events }, { ms }) => events.lag(ms),
  outage({ simulation }, { engine, ms }) {
    simulation.downUntil.set(engine, simulation.now + ms)
  },
  calls({ simulation }, { probability, ms }) {
    simulation.failing = { probability, until: simulation.now + ms }
  },
  kill: ({ simulation }, { process, ms }) => simulation.kill(process, ms),
  freeze: ({ simulation }, { process, ms }) => simulation.freeze(process, ms),
  stop: ({ stops }, { process }) => stops.get(process)?.(),
  hit({ simulation }, { process, phase, calls, freezeMs }) {
    const call = (simulation.lifeOf(process)?.calls ?? 0) + calls
    simulation.crashes.push({ process, phase, call, restartMs: 200, ...(freezeMs === undefined ? {} : { freezeMs }) })
  },
  revoke: ({ bus }, { partition }) => bus.revoke(partition),
  forget: ({ events }) => events.forget(),
  rewind,
}
export function happen(world: World, step: Step): void {
  world.simulation.note(() => JSON.stringify(step))
  const happen: (world: World, step: never) => void = happenings[step.kind]
  happen(world, step as never)
}
