import type { Pool } from 'pg'
import { compose } from './compose.ts'
import type { Config } from './config.ts'
import { connect, type EngineDeps, onPostgres, openDatabase, openEvents, type Patience } from './engines.ts'
import type { Checkpoint, RecordedEvent } from './events/envelope.ts'
import { type Family, families, isDayStream, type StreamName } from './events/streams.ts'
import { KolbakError } from './lib/errors.ts'
import type { Log } from './lib/log.ts'
import { pause } from './lib/retry.ts'
import { sqlOn, transaction } from './lib/sql.ts'
import type { DeliveryLog, PayloadArchive, PayloadKey } from './ports/delivery-log.ts'
import { type EventStore, EventTooLarge, RevisionConflict } from './ports/event-store.ts'
import { factsOf } from './projections/deliveries.ts'

/** The ports by the names that `engines` records, and the variable that names the engine made for each. */
export const movable = {
  event_store: 'EVENTSTOREDB_URL',
  message_bus: 'KAFKA_BROKERS',
  delivery_log: 'CASSANDRA_CONTACT_POINTS',
} as const
export type MovablePort = keyof typeof movable

export interface Moved {
  readonly port: MovablePort
  readonly from: string
  readonly to: string
  /** What was copied: events, payloads, facts. */
  readonly copied: Readonly<Record<string, number>>
}

/**
 * Takes a port from Postgres to the engine that is configured for it now, while no process runs: drains what is unread,
 * copies what must be kept, and only then records the new engine, so that a move that is cut off is simply begun again.
 *
 * Throws KolbakError: `not_configured`, `already_moved`, `still_running`, `set_aside` and `rebuilding`.
 */
export async function move(port: MovablePort, config: Config, log: Log): Promise<Moved> {
  if (config[movable[port]] === undefined)
    throw new KolbakError('not_configured', `Set ${movable[port]} to the engine that is to have the ${port.replaceAll('_', ' ')}.`)
  await onOldEngine(port, config, log, checkMovable)
  await drain(port, config, log)
  const moved = await onOldEngine(port, config, log, (old) => movers[port](old))
  // Read models that are built anew are there when the first reader comes.
  if (port === 'event_store') await runUntilDrained(config, ['projector'], log)
  return moved
}

interface Old {
  readonly port: MovablePort
  readonly deps: EngineDeps
  readonly pool: Pool
  /** Identity of the engine that is left. */
  readonly from: string
}

/** The configuration with the port still on Postgres. */
const before = (port: MovablePort, config: Config): Config => ({ ...config, [movable[port]]: undefined })

/** Does something with the database while no process of Kolbak runs; what was opened is closed. */
async function onOldEngine<T>(port: MovablePort, config: Config, log: Log, work: (old: Old) => Promise<T>): Promise<T> {
  const patience: Patience = { log, signal: new AbortController().signal, waits: false }
  const database = await openDatabase(config, patience, { join: false })
  const opened: (() => Promise<unknown>)[] = [database.stop]
  try {
    const pool = database.pool('move', 8)
    opened.push(() => pool.end())
    const [row] = await sqlOn(pool)<{ identity: string }>`select identity from engines where port = ${port}`
    const leases = { take: async () => null, close: async () => {} }
    const deps: EngineDeps = {
      ...{ config, patience, log, leases, consumers: () => 1 },
      pools: { reads: pool, writes: pool, projecting: pool },
      opened: (_name, close) => opened.push(close),
    }
    return await work({ port, deps, pool, from: row?.identity ?? '' })
  } finally {
    for (const close of opened.reverse()) await close()
  }
}

async function checkMovable({ port, pool, from }: Old): Promise<void> {
  if (!from.startsWith('postgres-'))
    throw new KolbakError(
      'already_moved',
      from === ''
        ? 'Nothing was ever stored here: start the service with the new engine, there is nothing to move.'
        : `The ${port.replaceAll('_', ' ')} is ${from}, and only what is in Postgres can be moved.`,
    )
  const sql = sqlOn(pool)
  const running = await sql`select from live_processes where seen_at > clock_timestamp() - interval '10 s' limit 1`
  if (running.length > 0)
    throw new KolbakError('still_running', 'A process of Kolbak works on this database: stop all of them, wait ten seconds, and try again.')
  const [aside] = await sql<{ stream: string }>`select stream from quarantined_streams limit 1`
  if (aside !== undefined)
    throw new KolbakError('set_aside', `The stream ${aside.stream} is set aside: lift it first (operate quarantined shows all of them).`)
  const [building] = await sql<{ name: string }>`select name from projections where not is_live limit 1`
  if (building !== undefined)
    throw new KolbakError('rebuilding', `The read model ${building.name} is being built anew: start the service, and let it end.`)
}

/** Runs what still works on the old engine, without taking anything new, until nothing is left to be read there. */
const drain = (port: MovablePort, config: Config, log: Log): Promise<void> =>
  runUntilDrained(before(port, config), port === 'message_bus' ? ['dispatcher', 'projector'] : ['projector'], log)

async function runUntilDrained(config: Config, roles: Config['KOLBAK_ROLES'], log: Log): Promise<void> {
  const service = await compose({ ...config, KOLBAK_ROLES: roles, PORT: 0, HOST: '127.0.0.1' }, log)
  try {
    for (;;) {
      const { messages, projections } = await service.operator.backlog()
      if ((messages === 0 || !roles.includes('dispatcher')) && projections.length === 0) return
      log.info({ messages, projections }, 'move.draining')
      await pause(250)
    }
  } finally {
    await service.stop()
  }
}

const everyFamily = Object.keys(families) as Family[]
type Sql = ReturnType<typeof sqlOn>
const recordNew = (sql: Sql, { port }: Old, identity: string) =>
  sql`update engines set identity = ${identity}, since = clock_timestamp() where port = ${port}`

const movers: Record<MovablePort, (old: Old) => Promise<Moved>> = {
  async event_store(old) {
    const { port, deps, pool, from } = old
    const { store: source } = await onPostgres.events(deps)
    const { store: target } = await connect.events(deps)
    const copy = await copyEvents(source, target)
    const head = await target.head(everyFamily)
    await transaction(pool, async (client) => {
      const sql = sqlOn(client)
      // Read models with tables hold positions of the old store: they are built anew from the new one.
      const built = await sql<{ schema: string; name: string }>`
        select nspname as schema, name from projections join pg_namespace on nspname = 'projection_' || name || '_' || build`
      for (const { schema } of built) await client.query(`drop schema ${schema} cascade`)
      await sql`delete from projections where name = any (${built.map(({ name }) => name)})`
      await sql`update projections set checkpoint = ${head}`
      await translateMatches(sql, copy.places)
      await recordNew(sql, old, target.identity)
    })
    return { port, from, to: target.identity, copied: { events: copy.events } }
  },

  async message_bus(old) {
    const { port, deps, pool, from } = old
    const { bus: target } = await connect.messages(deps)
    let payloads = 0
    // On Postgres the bus's rows were the archive; from now on there is one of its own.
    if (deps.config.CASSANDRA_CONTACT_POINTS === undefined) {
      const { deliveryLog: source } = await onPostgres.history({ ...deps, config: before(port, deps.config) })
      const { deliveryLog: archive } = await onPostgres.history(deps)
      payloads = await copyPayloads(pool, source, archive)
    }
    await recordNew(sqlOn(pool), old, target.identity)
    return { port, from, to: target.identity, copied: { payloads } }
  },

  async delivery_log(old) {
    const { port, deps, pool, from } = old
    const { deliveryLog: source } = await onPostgres.history(deps)
    const { deliveryLog: target } = await connect.history(deps)
    const payloads = await copyPayloads(pool, source, target)
    const { store } = await openEvents(deps)
    const [live] = await sqlOn(pool)<{ build: number }>`select build from projections where name = 'deliveries' and is_live`
    const facts = await copyHistory(store, target, live?.build ?? 1)
    await recordNew(sqlOn(pool), old, target.identity)
    return { port, from, to: target.identity, copied: { payloads, facts } }
  },
}

/** Every event up to the head, batch by batch. */
async function* everyEvent(store: EventStore, of: readonly Family[]): AsyncGenerator<readonly RecordedEvent[]> {
  const head = await store.head(of)
  if (head === null) return
  const reached = new AbortController()
  for await (const { events, checkpoint } of store.subscribe({ families: of, after: null, signal: reached.signal })) {
    yield events
    if (checkpoint >= head) reached.abort()
  }
}

interface EventCopy {
  readonly events: number
  /** Where the events of command streams stood, and where they stand now, in that order. */
  readonly places: readonly { readonly old: Checkpoint; readonly new: Checkpoint }[]
}
/**
 * Copies every event under its own id, which makes a repeated move harmless. Command streams keep their order among all
 * events; streams of a day keep their own, and their numbers begin anew where retention has taken their beginning.
 */
async function copyEvents(source: EventStore, target: EventStore): Promise<EventCopy> {
  const places: { old: Checkpoint; new: Checkpoint }[] = []
  let copied = 0
  for await (const events of everyEvent(source, everyFamily)) {
    for (const event of events.filter(({ stream }) => !isDayStream(stream))) {
      const { position } = await target.append(event.stream, [event], event.revision === 0 ? 'none' : event.revision - 1)
      places.push({ old: event.position, new: position })
    }
    const days = Map.groupBy(
      events.filter(({ stream }) => isDayStream(stream)),
      ({ stream }) => stream,
    )
    await Promise.all([...days].map(([stream, some]) => appendAll(target, stream, some)))
    copied += events.length
  }
  return { events: copied, places }
}
async function appendAll(target: EventStore, stream: StreamName, events: readonly RecordedEvent[]): Promise<void> {
  for (let i = 0; i < events.length; i += 50) {
    const some = events.slice(i, i + 50)
    try {
      await target.append(stream, some, 'any')
    } catch (error) {
      // Too large together, or some of them were copied by a move that was cut off: then one by one.
      if (!(error instanceof RevisionConflict || error instanceof EventTooLarge)) throw error
      for (const event of some) await target.append(stream, [event], 'any')
    }
  }
}

/** The message index says at which place of the old store each message was matched: it is to name the same moment in the new one. */
async function translateMatches(sql: Sql, places: EventCopy['places']): Promise<void> {
  const matches = await sql<{ at: Checkpoint }>`select distinct matched_at as at from message_index`
  for (const { at } of matches) {
    const last = places.findLast((place) => place.old <= at)
    await sql`update message_index set matched_at = ${last?.new ?? ''} where matched_at = ${at}`
  }
}

/** The payload of each message in the index. */
async function copyPayloads(pool: Pool, source: PayloadArchive, target: PayloadArchive): Promise<number> {
  let copied = 0
  let after = { tenant: '', message: '' }
  for (;;) {
    const keys = await sqlOn(pool)<PayloadKey>`
      select tenant, message, fingerprint, place, accepted_at as "acceptedAt" from message_index
      where (tenant, message) > (${after.tenant}, ${after.message}) order by tenant, message limit 200`
    const last = keys.at(-1)
    if (last === undefined) return copied
    after = last
    const payloads = await source.payloads(keys)
    const found = keys.flatMap((key, i) => (payloads[i] == null ? [] : [{ ...key, payload: payloads[i] }]))
    await target.archive(found)
    copied += found.length
  }
}

/** The history is made of events: it is made again, in the generation that readers will look for. */
async function copyHistory(store: EventStore, target: DeliveryLog, generation: number): Promise<number> {
  await target.makeGeneration(generation)
  const history = target.generation(generation)
  let recorded = 0
  for await (const events of everyEvent(store, ['routing', 'attempts'])) {
    const facts = events.flatMap(factsOf)
    if (facts.length > 0) await history.record(facts)
    recorded += facts.length
  }
  return recorded
}
