import { recordEngine } from '../../adapters/postgres/engines.ts'
import type { DeliveryLog } from '../../ports/delivery-log.ts'
import type { EventStore } from '../../ports/event-store.ts'
import type { MessageBus } from '../../ports/message-bus.ts'
import type { Parts } from '../parts.ts'
import { type Patience, whenAvailable } from '../patience.ts'
import type { Engine, EngineDeps, OpenDeliveryLog, OpenEventStore, OpenMessageBus } from './engine.ts'
import { type Engines, type PortName, spoken } from './table.ts'

export interface OpenDeps extends EngineDeps {
  readonly patience: Patience
  /** Opened engines are added here, so that they are closed when the service stops. */
  readonly parts: Parts
}
type Adapter = EventStore | MessageBus | DeliveryLog

/**
 * Connects to an engine, and waits for the engine if `patience` says so. It does not compare the engine with the recorded one, because the command
 * `move` opens a new engine.
 */
export async function connectEngine<Deps, O extends { readonly adapter: Adapter }>(
  port: PortName,
  engine: Engine<Deps, O>,
  deps: Deps & OpenDeps,
): Promise<O> {
  const opened = await whenAvailable(engine.name, () => engine.connect(deps), deps.patience, engine.unavailable)
  deps.parts.add(spoken(port), opened.adapter.close)
  return opened
}

/** Connects to an engine. Throws KolbakError `engine_changed` when the port had another engine at the last start. */
export async function openEngine<Deps, O extends { readonly adapter: Adapter }>(
  port: PortName,
  engine: Engine<Deps, O>,
  deps: Deps & OpenDeps,
): Promise<O> {
  const opened = await connectEngine(port, engine, deps)
  await recordEngine(deps.pools.reads, port, engine.name, opened.adapter.identity)
  return opened
}

export interface OpenEngines {
  readonly events: OpenEventStore
  readonly messages: OpenMessageBus
  readonly history: OpenDeliveryLog
}
/** Opens the engine of each port. Throws KolbakError `engine_changed`. */
export async function openEngines(engines: Engines, deps: OpenDeps): Promise<OpenEngines> {
  const events = await openEngine('event_store', engines.event_store, deps)
  const messages = await openEngine('message_bus', engines.message_bus, deps)
  const history = await openEngine('delivery_log', engines.delivery_log, { ...deps, bus: messages.adapter })
  return { events, messages, history }
}
