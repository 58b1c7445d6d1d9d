import type { Pool } from 'pg'
import type { Config } from '../config/config.ts'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { MessageRef } from '../events/refs.ts'
import { everyFamily, type Family, isDayStream, type StreamName } from '../events/streams.ts'
import { chunks } from '../lib/chunks.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { messageRefColumns } from '../lib/ref-columns.ts'
import { type Sql, sqlOn, sqlText, transaction } from '../lib/sql.ts'
import type { BodyArchive, DeliveryLog } from '../ports/delivery-log.ts'
import { type EventStore, EventTooLarge, RevisionConflict } from '../ports/event-store.ts'
import { factsOf } from '../projections/deliveries.ts'
import { unread } from '../service/engine-checks.ts'
import { connect, type EngineDeps, onPostgres, openEvents } from '../service/engines.ts'
import { checkStopped, onStopped, runUntilDrained } from './offline.ts'

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
  /** What was copied: events, bodies, facts. */
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
  const moved = await onOldEngine(port, config, log, async (old) => ({ port, from: old.from, ...(await movers[port](old)) }))
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

/** Does something with the engine that is left, and the database, while no process of Kolbak runs. */
const onOldEngine = <T>(port: MovablePort, config: Config, log: Log, work: (old: Old) => Promise<T>): Promise<T> =>
  onStopped(config, log, async (deps, pool) => {
    const [row] = await sqlOn(pool)<{ identity: string }>`select identity from engines where port = ${port}`
    return work({ port, deps, pool, from: row?.identity ?? '' })
  })

async function checkMovable({ port, pool, from }: Old): Promise<void> {
  if (!from.startsWith('postgres-'))
    throw new KolbakError(
      'already_moved',
      from === ''
        ? 'Nothing was ever stored here: start the service with the new engine, there is nothing to move.'
        : `The ${port.replaceAll('_', ' ')} is ${from}, and only what is in Postgres can be moved.`,
    )
  await checkStopped(pool)
  await checkWhole(sqlOn(pool))
}

/** Nothing is set aside or being built: it could not be told, in the new engine, how far it had come. */
async function checkWhole(sql: Sql): Promise<void> {
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

/**
 * Records the new engine, in the transaction that closes the old one. A process that was not stopped (it slept, or was
 * started meanwhile) cannot write there any more, and what it has written before is found here: then nothing is moved.
 */
const recordNew = (
  { pool, port }: Old,
  identity: string,
  isComplete: (sql: Sql) => Promise<boolean>,
  also: (sql: Sql) => Promise<void> = async () => {},
): Promise<void> =>
  transaction(pool, async (client) => {
    await client.query('set local statement_timeout = 0')
    const sql = sqlOn(client)
    const old = onPostgres.closing[port]
    await old.lock(sql)
    if (!(await isComplete(sql)))
      throw new KolbakError(
        'still_running',
        'A process of Kolbak has written to the old engine meanwhile: stop all of them, and begin again.',
      )
    await checkWhole(sql)
    await also(sql)
    await old.shut(sql)
    await sql`update engines set identity = ${identity}, since = clock_timestamp() where port = ${port}`
  })

/** Answers the new engine's identity, and what was copied. */
const movers: Record<MovablePort, (old: Old) => Promise<Pick<Moved, 'to' | 'copied'>>> = {
  async event_store(old) {
    const { store: source } = await onPostgres.events(old.deps)
    const { store: target } = await connect.events(old.deps)
    const copy = await copyEvents(source, target)
    const head = await target.head(everyFamily)
    const isComplete = async () => (await source.head(everyFamily)) === copy.head
    await recordNew(old, target.identity, isComplete, async (sql) => {
      // Read models with tables hold positions of the old store: they are built anew from the new one.
      const built = await sql<{ name: string; build: number }>`
        select name, build from projections join pg_namespace on nspname = 'projection_' || name || '_' || build`
      for (const { name, build } of built) await sql`select drop_projection_tables(${name}, ${build})`
      await sql`delete from projections where name = any (${built.map(({ name }) => name)})`
      await sql`update projections set checkpoint = ${head}`
      await translateMatches(sql, copy.places)
    })
    return { to: target.identity, copied: { events: copy.events } }
  },

  async message_bus(old) {
    const { port, deps, pool } = old
    const { bus: source } = await onPostgres.messages(deps)
    const { bus: target } = await connect.messages(deps)
    let bodies = { copied: 0, expired: 0 }
    // On Postgres the bus's rows were the archive; from now on there is one of its own.
    if (deps.config.CASSANDRA_CONTACT_POINTS === undefined) {
      const { deliveryLog: archived } = await onPostgres.history({ ...deps, config: before(port, deps.config) })
      const { deliveryLog: archive } = await onPostgres.history(deps)
      bodies = await copyBodies(pool, archived, archive)
    }
    await recordNew(old, target.identity, async () => (await unread({ bus: source, pool })) === 0)
    return { to: target.identity, copied: { bodies: bodies.copied, expired: bodies.expired } }
  },

  async delivery_log(old) {
    const { deps, pool } = old
    const { deliveryLog: source } = await onPostgres.history(deps)
    const { deliveryLog: target } = await connect.history(deps)
    const bodies = await copyBodies(pool, source, target)
    const { store } = await openEvents(deps)
    const liveBuild = async (sql: Sql) => {
      const [live] = await sql<{ build: number; checkpoint: Checkpoint | null }>`
        select build, checkpoint from projections where name = 'deliveries' and is_live`
      return live
    }
    const live = await liveBuild(sqlOn(pool))
    const facts = await copyHistory(store, target, live?.build ?? 1)
    await recordNew(old, target.identity, async (sql) => (await liveBuild(sql))?.checkpoint === live?.checkpoint)
    return { to: target.identity, copied: { bodies: bodies.copied, expired: bodies.expired, facts } }
  },
}

/** Every event up to the head that is given, batch by batch. */
async function* everyEvent(store: EventStore, of: readonly Family[], head: Checkpoint | null): AsyncGenerator<readonly RecordedEvent[]> {
  if (head === null) return
  const reached = new AbortController()
  for await (const { events, checkpoint } of store.subscribe({ families: of, after: null, signal: reached.signal })) {
    yield events
    if (checkpoint >= head) reached.abort()
  }
}

interface EventCopy {
  readonly events: number
  /** Of the old store, when the last event was copied. */
  readonly head: Checkpoint | null
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
  const head = await source.head(everyFamily)
  for await (const events of everyEvent(source, everyFamily, head)) {
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
  return { events: copied, head, places }
}
async function appendAll(target: EventStore, stream: StreamName, events: readonly RecordedEvent[]): Promise<void> {
  for (const some of chunks(events, 50))
    try {
      await target.append(stream, some, 'any')
    } catch (error) {
      // Too large together, or some of them were copied by a move that was cut off: then one by one.
      if (!(error instanceof RevisionConflict || error instanceof EventTooLarge)) throw error
      for (const event of some) await target.append(stream, [event], 'any')
    }
}

/** The message index says at which place of the old store each message was matched: it is to name the same moment in the new one. */
async function translateMatches(sql: Sql, places: EventCopy['places']): Promise<void> {
  await sql`create temp table moved_places (old text collate "C" primary key, new text not null) on commit drop`
  for (const some of chunks(places, 10_000))
    await sql`insert into moved_places select * from unnest(${some.map((place) => place.old)}::text[], ${some.map((place) => place.new)}::text[])`
  await sql`
    update message_index m set matched_at = translated.new
    from (select distinct matched_at as at from message_index) as matches
    cross join lateral (
      select coalesce((select new from moved_places where old <= matches.at order by old desc limit 1), '') as new
    ) as translated
    where m.matched_at = matches.at`
}

/** Copies the sealed body of each message in the index. */
async function copyBodies(pool: Pool, source: BodyArchive, target: BodyArchive): Promise<{ copied: number; expired: number }> {
  let copied = 0
  let expired = 0
  let after = { tenant: '', message: '' }
  for (;;) {
    const keys = await sqlOn(pool)<MessageRef>`
      select ${sqlText(messageRefColumns)} from message_index
      where (tenant, message) > (${after.tenant}, ${after.message}) order by tenant, message limit 200`
    const last = keys.at(-1)
    if (last === undefined) return { copied, expired }
    after = last
    const bodies = await source.bodies(keys)
    const found = keys.flatMap((key, i) => (bodies[i] == null ? [] : [{ ...key, sealedBody: bodies[i] }]))
    await target.archive(found)
    copied += found.length
    expired += keys.length - found.length
  }
}

/** The history is made of events: it is made again, in the generation that readers will look for. */
async function copyHistory(store: EventStore, target: DeliveryLog, generation: number): Promise<number> {
  await target.makeGeneration(generation)
  const history = target.generation(generation)
  let recorded = 0
  const read = ['routing', 'attempts'] as const
  for await (const events of everyEvent(store, read, await store.head(read))) {
    const facts = events.flatMap(factsOf)
    if (facts.length > 0) await history.record(facts)
    recorded += facts.length
  }
  return recorded
}
