import type { Config } from '../../config/config.ts'
import { KolbakError } from '../../lib/errors.ts'
import { cassandra } from './cassandra.ts'
import type { DeliveryLogEngine, Engine, EventStoreEngine, MessageBusEngine } from './engine.ts'
import { eventStoreDb } from './eventstoredb.ts'
import { kafka } from './kafka.ts'
import { postgresDeliveryLog, postgresEventStore, postgresMessageBus } from './postgres.ts'

/** One engine for each port. The names of the ports are those in the table `engines`. */
export interface Engines {
  readonly event_store: EventStoreEngine
  readonly message_bus: MessageBusEngine
  readonly delivery_log: DeliveryLogEngine
}
export type PortName = keyof Engines

/** All engines that a port can have. The first engine of each line is the default. */
const engineTable: { readonly [P in PortName]: readonly Engines[P][] } = {
  event_store: [postgresEventStore, eventStoreDb],
  message_bus: [postgresMessageBus, kafka],
  delivery_log: [postgresDeliveryLog, cassandra],
}

/** The engines of a service that stores everything in its database. */
export const postgresEngines: Engines = {
  event_store: postgresEventStore,
  message_bus: postgresMessageBus,
  delivery_log: postgresDeliveryLog,
}

/**
 * Returns the engine that the configuration chooses for each port. Throws KolbakError `invalid_config` when it chooses two engines for one port.
 */
export const chooseEngines = (config: Config): Engines => ({
  event_store: chosen('event_store', engineTable.event_store, config),
  message_bus: chosen('message_bus', engineTable.message_bus, config),
  delivery_log: chosen('delivery_log', engineTable.delivery_log, config),
})

/**
 * Returns whether event store and delivery log are both in the database of the service. The event of a first success is then the history of its delivery, and
 * the delivery log keeps no copy (decision 42).
 */
export const eventsAreHistory = ({ event_store, delivery_log }: Engines): boolean =>
  event_store === postgresEngines.event_store && delivery_log === postgresEngines.delivery_log

/** Returns the names of the chosen engines that keep data outside of Postgres. */
export const otherEngines = (config: Config): string[] =>
  Object.values(chooseEngines(config)).flatMap(({ title, chosenBy }) => (chosenBy === null ? [] : [title]))

/** Returns the variables that choose an engine other than Postgres for a port. */
export const variablesOf = (port: PortName): string[] => engineTable[port].flatMap(({ chosenBy }) => (chosenBy === null ? [] : [chosenBy]))

function chosen<E extends Pick<Engine<never, unknown>, 'chosenBy'>>(port: PortName, engines: readonly E[], config: Config): E {
  const named = engines.filter(({ chosenBy }) => chosenBy !== null && config[chosenBy] !== undefined)
  if (named.length > 1) {
    const variables = named.map(({ chosenBy }) => chosenBy).join(' and ')
    throw new KolbakError('invalid_config', `${variables} each choose an engine for the ${spoken(port)}: set one of them.`)
  }
  return named[0] ?? engines.find(({ chosenBy }) => chosenBy === null)!
}

/** Returns the name of a port as it appears in sentences. */
export const spoken = (port: PortName): string => port.replaceAll('_', ' ')
