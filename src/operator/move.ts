import type { ClientBase, Pool } from 'pg'
import type { Config, Role } from '../config/config.ts'
import { factsOf } from '../events/delivery-facts.ts'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { commandEntry, leafHash } from '../events/leaf.ts'
import type { MessageRef } from '../events/refs.ts'
import { upcast } from '../events/schema.ts'
import { everyFamily, historyFamilies, isDayStream, type StreamName } from '../events/streams.ts'
import { chunks } from '../lib/chunks.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { createMerkleTree } from '../lib/merkle.ts'
import { messageRefColumns } from '../lib/ref-columns.ts'
import { type Sql, sqlOn, sqlText, transaction } from '../lib/sql.ts'
import type { BodyArchive, DeliveryFact, DeliveryLog } from '../ports/delivery-log.ts'
import { type EventStore, EventTooLarge, RevisionConflict } from '../ports/event-store.ts'
import { eventsUpTo } from '../ports/events-up-to.ts'
import { type KeptHead, listHeads, logForked } from '../projections/log-heads.ts'
import { projectionNames } from '../projections/names.ts'
import { unread } from '../service/engine-checks.ts'
import { connectEngine, type OpenDeps, openEngine } from '../service/engines/open.ts'
import { closing } from '../service/engines/postgres.ts'
import { chooseEngines, type Engines, type PortName, postgresEngines, spoken, variablesOf } from '../service/engines/table.ts'
import { keepBatchLeaves } from './move-batches.ts'
import { checkOffline, openRecorder, runUntilDrained, workOffline } from './offline.ts'
import { type Act, recordBegin, recordEnd } from './recorded-act.ts'

interface Moved {
  readonly port: PortName
  /** The identities of the old and the new engine. */
  readonly from: string
  readonly to: string
  /** Numbers of the events, bodies and facts that were copied. */
  readonly copied: Readonly<Record<string, number>>
}

/**
 * Moves a port from Postgres to the engine that is now configured for it, while no process of the service runs. It lets the service finish all unread
 * data, copies the data that must be kept, and records the new engine last. So an interrupted move can simply be started again.
 *
 * Throws KolbakError: `not_configured`, `already_moved`, `still_running`, `quarantined` and `rebuilding`.
 */
export async function move(port: PortName, config: Config, log: Log): Promise<Moved> {
  const engines = chooseEngines(config)
  if (engines[port] === postgresEngines[port])
    throw new KolbakError('not_configured', `Set ${variablesOf(port).join(' or ')} to the engine that the ${spoken(port)} moves to.`)
  const withContext = <T>(work: (context: MoveContext) => Promise<T>): Promise<T> =>
    workOffline(config, log, async (deps, pool) => {
      const [row] = await sqlOn(pool)<{ identity: string }>`select identity from engines where port = ${port}`
      return work({ port, engines, deps, pool, from: row?.identity ?? '' })
    })
  const act: Act = { command: 'move', arguments: { port, engine: engines[port].name } }
  const begun = await withContext(async (context) => {
    await checkMovable(context)
    return recordBegin(await recorderOf(context), act)
  })
  const end = (failure: { error: unknown } | null) =>
    withContext(async (context) => recordEnd(await recorderOf(context), act, begun, failure))
  let moved: Moved
  try {
    moved = await drainAndMove({ port, engines, config, log }, withContext)
  } catch (error) {
    await end({ error }).catch((cause: unknown) => log.warn({ error: cause }, 'operator.end_not_recorded'))
    throw error
  }
  await end(null)
  // Read models are rebuilt here, so that they are complete when the service starts.
  if (port === 'event_store') await runUntilDrained(config, ['projector'], log)
  return moved
}

async function drainAndMove(
  { port, engines, config, log }: { port: PortName; engines: Engines; config: Config; log: Log },
  withContext: <T>(work: (context: MoveContext) => Promise<T>) => Promise<T>,
): Promise<Moved> {
  // The old engine is read to its end. The role `api` does not run, so no new messages or commands arrive.
  const drainingRoles: Role[] = port === 'message_bus' ? ['dispatcher', 'projector'] : ['projector']
  await runUntilDrained(config, drainingRoles, log, { ...engines, [port]: postgresEngines[port] })
  return withContext(async (context) => ({ port, from: context.from, ...(await movers[port](context)) }))
}

/** Opens what is needed to record the move, with the event store that is in use at this moment. */
async function recorderOf({ port, engines, deps, pool, from }: MoveContext) {
  const isOld = port === 'event_store' && from.startsWith(`${postgresEngines.event_store.name}-`)
  const engine = isOld ? postgresEngines.event_store : engines.event_store
  return openRecorder(deps, pool, (await connectEngine('event_store', engine, deps)).adapter)
}

/** The values that the steps of a move share. */
interface MoveContext {
  readonly port: PortName
  /** The configured engines, including the port's new one. */
  readonly engines: Engines
  readonly deps: OpenDeps
  readonly pool: Pool
  /** The identity of the port's present engine. */
  readonly from: string
}

async function checkMovable({ port, pool, from }: MoveContext): Promise<void> {
  if (!from.startsWith(`${postgresEngines[port].name}-`))
    throw new KolbakError(
      'already_moved',
      from === ''
        ? 'Nothing was ever stored here, so there is nothing to move: start the service with the new engine.'
        : `The ${spoken(port)} is ${from}, and only what is in Postgres can be moved.`,
    )
  await checkOffline(pool)
  await checkWhole(sqlOn(pool))
}

/** Throws if a stream is quarantined or a read model is being built, because their progress cannot be translated to the new engine. */
async function checkWhole(sql: Sql): Promise<void> {
  const [quarantined] = await sql<{ stream: string }>`select stream from quarantined_streams limit 1`
  if (quarantined !== undefined)
    throw new KolbakError(
      'quarantined',
      `The stream ${quarantined.stream} is quarantined. End its quarantine first with \`npm run operate -- retry\` or ` +
        '`npm run operate -- skip`. `npm run operate -- quarantined` lists all such streams.',
    )
  const [building] = await sql<{ name: string }>`select name from projections where not is_live limit 1`
  if (building !== undefined)
    throw new KolbakError(
      'rebuilding',
      `The read model ${building.name} is being built again: start the service, and wait until the build is live.`,
    )
}

/**
 * Records the new engine, in the transaction that keeps writers away from the old engine. After the commit, no process can write to the old engine,
 * even if it ran or was started during the move. If such a process has already written, this function throws, and nothing is moved.
 * @param adaptTables changes tables that depend on the engine, in the same transaction
 */
const recordNewEngine = (
  { pool, port }: MoveContext,
  identity: string,
  isComplete: (sql: Sql) => Promise<boolean>,
  adaptTables: (sql: Sql, client: ClientBase) => Promise<void> = async () => {},
): Promise<void> =>
  transaction(pool, async (client) => {
    await client.query('set local statement_timeout = 0')
    const sql = sqlOn(client)
    await closing[port].lock(sql)
    if (!(await isComplete(sql)))
      throw new KolbakError(
        'still_running',
        'A process of Kolbak has written to the old engine meanwhile: stop all processes, and start the move again.',
      )
    await checkWhole(sql)
    await adaptTables(sql, client)
    await closing[port].shut(sql)
    await sql`update engines set identity = ${identity}, since = clock_timestamp() where port = ${port}`
  })

/** Functions that copy the data that must be kept. Each returns the identity of the new engine, and how much was copied. */
const movers: Record<PortName, (context: MoveContext) => Promise<Pick<Moved, 'to' | 'copied'>>> = {
  async event_store(context) {
    const { adapter: source } = await connectEngine('event_store', postgresEngines.event_store, context.deps)
    const { adapter: target } = await connectEngine('event_store', context.engines.event_store, context.deps)
    const copy = await copyEvents(source, target, (await listHeads(sqlOn(context.pool), 1))[0])
    await keepBatchLeaves(context.pool, context.deps.config, source)
    const { macs } = await openRecorder(context.deps, context.pool, source)
    const newPositionOf = (old: Checkpoint | null) => copy.positions.find((position) => position.old === old)?.new
    const [commands, attempts] = [newPositionOf(macs.start), newPositionOf(macs.attemptsStart)]
    const newStarts = { ...(commands === undefined ? {} : { commands }), ...(attempts === undefined ? {} : { attempts }) }
    await keepFirstSuccesses(context, source)
    const head = await target.head(everyFamily)
    const isComplete = async () => (await source.head(everyFamily)) === copy.head
    await recordNewEngine(context, target.identity, isComplete, async (sql, client) => {
      await macs.setStarts(newStarts, client)
      // Read models with tables contain positions of the old store, so they are built again from the new store.
      const built = await sql<{ name: string; build: number }>`
        select name, build from projections join pg_namespace on nspname = 'projection_' || name || '_' || build`
      for (const { name, build } of built) await sql`select drop_projection_tables(${name}, ${build})`
      await sql`delete from projections where name = any (${built.map(({ name }) => name)})`
      await sql`update projections set checkpoint = ${head}, applied_to = null`
      // The rows of this table name positions of the old store. The projections have reached all of them, so the rows are not needed any more.
      await sql`delete from acknowledged_changes`
      await translateMatches(sql, copy.positions)
    })
    return { to: target.identity, copied: { events: copy.events } }
  },

  async message_bus(context) {
    const { engines, deps, pool } = context
    const { adapter: source } = await connectEngine('message_bus', postgresEngines.message_bus, deps)
    const { adapter: target } = await connectEngine('message_bus', engines.message_bus, deps)
    let bodies = { copied: 0, expired: 0 }
    // With bus and delivery log both on Postgres, the records of the bus are the archive. A bus on Kafka cannot be one (it has no `readBodies`), so
    // the bodies are copied into an archive of the delivery log.
    if (engines.delivery_log === postgresEngines.delivery_log) {
      const archived = await connectEngine('delivery_log', engines.delivery_log, { ...deps, bus: source })
      const archive = await connectEngine('delivery_log', engines.delivery_log, { ...deps, bus: target })
      bodies = await copyBodies(pool, archived.adapter, archive.adapter)
    }
    await recordNewEngine(context, target.identity, async () => (await unread({ bus: source, pool })) === 0)
    return { to: target.identity, copied: { bodies: bodies.copied, expired: bodies.expired } }
  },

  async delivery_log(context) {
    const { engines, deps, pool } = context
    const { adapter: store } = await openEngine('event_store', engines.event_store, deps)
    const { adapter: bus } = await openEngine('message_bus', engines.message_bus, deps)
    const { adapter: source } = await connectEngine('delivery_log', postgresEngines.delivery_log, { ...deps, bus })
    const { adapter: target } = await connectEngine('delivery_log', engines.delivery_log, { ...deps, bus })
    const bodies = await copyBodies(pool, source, target)
    const live = await liveBuild(sqlOn(pool))
    const facts = await copyHistory(store, target, live?.build ?? 1)
    await recordNewEngine(context, target.identity, async (sql) => (await liveBuild(sql))?.checkpoint === live?.checkpoint)
    return { to: target.identity, copied: { bodies: bodies.copied, expired: bodies.expired, facts } }
  },
}

async function liveBuild(sql: Sql) {
  const [live] = await sql<{ build: number; checkpoint: Checkpoint | null }>`
    select build, checkpoint from projections where name = ${projectionNames.deliveries} and is_live`
  return live
}

/**
 * Writes the first successes as rows of a delivery log that stays on Postgres. Until now the log has read their events from the old event store. It
 * cannot read events from the new one.
 */
async function keepFirstSuccesses({ engines, deps, pool }: MoveContext, source: EventStore): Promise<void> {
  if (engines.delivery_log !== postgresEngines.delivery_log) return
  const { adapter: bus } = await openEngine('message_bus', engines.message_bus, deps)
  const { adapter: deliveryLog } = await openEngine('delivery_log', engines.delivery_log, { ...deps, bus })
  const live = await liveBuild(sqlOn(pool))
  if (live !== undefined) await copyHistory(source, deliveryLog, live.build, (fact) => fact.in_history === true)
}

interface EventCopy {
  readonly events: number
  /** The head of the old store at the start of copying. */
  readonly head: Checkpoint | null
  /** The positions of the events of command streams in both stores, in order. */
  readonly positions: readonly { readonly old: Checkpoint; readonly new: Checkpoint }[]
}
/**
 * Copies every event with its id, so that a repeated move stores no event twice. Events of command streams keep their order among each
 * other. Events of day streams keep their order within the stream. If the retention has dropped the first events of a day stream, its revisions begin
 * at 0 again. Throws log_forked if the events of commands do not lead to the last head of the audit log.
 */
async function copyEvents(source: EventStore, target: EventStore, lastHead: KeptHead | undefined): Promise<EventCopy> {
  const tree = createMerkleTree()
  const positions: { old: Checkpoint; new: Checkpoint }[] = []
  let copied = 0
  const head = await source.head(everyFamily)
  for await (const events of eventsUpTo(source, { families: everyFamily, after: null, upTo: head })) {
    // Attempts are copied before commands, so that those from before AttemptMacsStarted, which have no MAC, stay before it.
    const days = Map.groupBy(
      events.filter(({ stream }) => isDayStream(stream)),
      ({ stream }) => stream,
    )
    await Promise.all([...days].map(([stream, dayEvents]) => appendAll(target, stream, dayEvents)))
    for (const event of events.filter(({ stream }) => !isDayStream(stream))) {
      const { position } = await target.append(event.stream, [event], event.revision === 0 ? 'none' : event.revision - 1)
      positions.push({ old: event.position, new: position })
      tree.push(leafHash(commandEntry(event)))
      if (tree.size === lastHead?.size && !tree.root().equals(lastHead.root)) throw logForked(differsFromHead(lastHead))
    }
    copied += events.length
  }
  if (lastHead !== undefined && tree.size < lastHead.size) throw logForked(differsFromHead(lastHead))
  return { events: copied, head, positions }
}
const differsFromHead = ({ size }: KeptHead) =>
  `The events of the old store do not lead to the last head that was given out, which covers ${size} events: run npm run -s kolbak -- audit verify. Nothing was moved.`

async function appendAll(target: EventStore, stream: StreamName, events: readonly RecordedEvent[]): Promise<void> {
  for (const chunk of chunks(events, 50))
    try {
      await target.append(stream, chunk, 'any')
    } catch (error) {
      // Either the events are too large together, or a move that was cut off has copied some of them. They are then appended one by one.
      if (!(error instanceof RevisionConflict || error instanceof EventTooLarge)) throw error
      for (const event of chunk) await target.append(stream, [event], 'any')
    }
}

/** Replaces the position at which each message was matched (`matched_at` in the message index) by the corresponding position in the new store. */
async function translateMatches(sql: Sql, positions: EventCopy['positions']): Promise<void> {
  await sql`create temp table moved_positions (old text collate "C" primary key, new text not null) on commit drop`
  for (const chunk of chunks(positions, 10_000))
    await sql`insert into moved_positions
      select * from unnest(${chunk.map((position) => position.old)}::text[], ${chunk.map((position) => position.new)}::text[])`
  await sql`
    update message_index m set matched_at = translated.new
    from (select distinct matched_at as at from message_index) as matches
    cross join lateral (
      select coalesce((select new from moved_positions where old <= matches.at order by old desc limit 1), '') as new
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
    const stored = keys.flatMap((key, i) => (bodies[i] == null ? [] : [{ ...key, sealedBody: bodies[i] }]))
    await target.archive(stored)
    copied += stored.length
    expired += keys.length - stored.length
  }
}

/** Writes the history again from its events, in the build that readers will use. */
async function copyHistory(
  store: EventStore,
  target: DeliveryLog,
  build: number,
  isCopied: (fact: DeliveryFact) => boolean = () => true,
): Promise<number> {
  await target.makeBuild(build)
  const history = target.historyOf(build)
  let recorded = 0
  const head = await store.head(historyFamilies)
  for await (const events of eventsUpTo(store, { families: historyFamilies, after: null, upTo: head })) {
    const facts = events.map(upcast).flatMap(factsOf).filter(isCopied)
    if (facts.length > 0) await history.record(facts)
    recorded += facts.length
  }
  return recorded
}
