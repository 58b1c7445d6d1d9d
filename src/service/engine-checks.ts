import type { Pool } from 'pg'
import { createOffsets } from '../dispatch/offsets.ts'
import type { Checkpoint } from '../events/envelope.ts'
import { everyFamily } from '../events/streams.ts'
import { KolbakError } from '../lib/errors.ts'
import { pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import type { EventStore } from '../ports/event-store.ts'
import type { MessageBus } from '../ports/message-bus.ts'
import type { Projection } from '../projections/projection.ts'

interface EngineReaders {
  readonly store: Pick<EventStore, 'head'>
  readonly bus: Pick<MessageBus, 'identity' | 'ends' | 'lag'>
  readonly pool: Pool
}

/** Returns the number of records of the bus that are not done. */
export async function unread({ bus, pool }: Pick<EngineReaders, 'bus' | 'pool'>): Promise<number> {
  const lag = await bus.lag(await createOffsets(pool, bus.identity).saved())
  return [...lag.values()].reduce((sum, records) => sum + records, 0)
}

/**
 * Notes the end of the bus. Returns a function that tells whether every record before that end is done. A record that has an offset and is not
 * committed yet counts as well, so no accepted message is overlooked.
 */
export async function noteEnd({ bus, pool }: Pick<EngineReaders, 'bus' | 'pool'>): Promise<() => Promise<boolean>> {
  const ends = await bus.ends()
  const offsets = createOffsets(pool, bus.identity)
  return async () => {
    const saved = await offsets.saved()
    if ([...ends].every(([partition, end]) => (saved.get(partition) ?? 0n) >= end)) return true
    // A produce that was rolled back may have left a gap at the end. A saved offset passes the gap only when a next record exists, so the
    // lag decides here.
    return [...(await bus.lag(saved)).values()].every((records) => records === 0)
  }
}

/**
 * A projection that does not reach the head within this many milliseconds counts as behind. Reading the head of EventStoreDB may append a marker, and
 * the projections need a moment to read it.
 */
const reachMs = 2_000

/**
 * Returns the number of records that are not done, and the projections whose live builds have not read all events that were stored before the call.
 */
export async function unfinished(
  { store, bus, pool }: EngineReaders,
  projections: readonly Pick<Projection, 'name' | 'families'>[],
): Promise<{ records: number; projections: string[] }> {
  const heads = await Promise.all(projections.map(async ({ name, families }) => [name, await store.head(families)] as const))
  const records = await unread({ bus, pool })
  for (const end = performance.now() + reachMs; ; await pause(50)) {
    const live = await sqlOn(pool)<{ name: string; checkpoint: Checkpoint | null }>`select name, checkpoint from projections where is_live`
    const reached = new Map(live.map(({ name, checkpoint }) => [name, checkpoint ?? '']))
    const behind = heads.filter(([name, head]) => head !== null && (reached.get(name) ?? '') < head)
    if (behind.length === 0 || performance.now() > end) return { records, projections: behind.map(([name]) => name) }
  }
}

/**
 * Throws KolbakError `engine_behind` when a checkpoint or saved offset lies beyond the end of its engine. The engine was then emptied or restored to
 * an older state, and its new events or records would count as read already.
 */
export async function checkEngines({ store, bus, pool }: EngineReaders): Promise<void> {
  // Checkpoints are read before heads. Heads only grow, so a head cannot be below a checkpoint that was read before it, even while other processes
  // work.
  const [read] = await sqlOn(pool)<{ name: string; checkpoint: Checkpoint }>`
    select name, checkpoint from projections where checkpoint is not null order by checkpoint desc limit 1`
  const savedOffsets = await createOffsets(pool, bus.identity).saved()
  if (read !== undefined) {
    const head = (await store.head(everyFamily)) ?? ''
    if (head < read.checkpoint)
      throw new KolbakError(
        'engine_behind',
        `The event store ends at ${head || 'nothing'}, but the projection ${read.name} has read up to ${read.checkpoint}: ` +
          'events are missing, for example because an older backup was restored. Restore the newest state of the event store, or the backup of Postgres ' +
          'that belongs to this one (see docs/operations.md).',
      )
  }
  const ends = await bus.ends()
  for (const [partition, offset] of savedOffsets) {
    const end = ends.get(partition) ?? 0n
    if (offset > end)
      throw new KolbakError(
        'engine_behind',
        `Partition ${partition} of the message bus ${bus.identity} ends at ${end}, but messages up to ${offset} are done: messages are missing, ` +
          'for example because the bus was emptied or created again. New messages would count as done: use a new bus (on Kafka another topic), or restore the former state ' +
          '(see docs/operations.md).',
      )
  }
}
