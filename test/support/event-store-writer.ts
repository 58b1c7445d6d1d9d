// This program appends events until it is told to stop. The test of the event store under concurrent writers forks it.

import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import type { EventId } from '../../src/events/ids.ts'
import { isDayStream, type StreamName } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type Appended, EventRefused, RevisionConflict } from '../../src/ports/event-store.ts'
import { someEvents } from './event-store-events.ts'

/** A message of a writer to its parent: the ids of an acknowledged append, or at the end how many appends were refused. */
export type WriterMessage = { readonly acked: readonly EventId[] } | { readonly conflicts: number; readonly refused: number }
/** The number of appends that a writer has in flight. */
export const loopsPerWriter = 4

const [url, name, ...streams] = process.argv.slice(2) as [string, string, ...StreamName[]]
const tell = (message: WriterMessage) => process.send?.(message)

async function write(): Promise<void> {
  const pool = createPool({ url, name, max: 6, log: silentLog })
  const store = createPostgresEventStore({ pool, log: silentLog, identity: 'postgres-test', dayStreamMaxAgeSeconds: 86_400 })
  let isStopped = false
  process.once('message', () => {
    isStopped = true
  })
  let conflicts = 0
  let refused = 0
  const loop = async (first: number) => {
    let last: { stream: StreamName; events: NewEvent[]; result: Appended } | undefined
    for (let i = first; !isStopped; i++) {
      const stream = streams[i % streams.length]!
      const events = someEvents(1 + (i % 3))
      try {
        if (i % 8 === 5) {
          // Loops and processes read the same revision, so all appends except one conflict.
          const revision = (await store.read(stream, { backwards: true, limit: 1 })).at(0)?.revision ?? 'none'
          await store.append(stream, events, revision)
        } else if (i % 8 === 6) {
          await store.append(stream, [...events, ...someEvents(1).map((event) => ({ ...event, id: 'not-a-uuid' as EventId }))], 'any')
        } else if (i % 8 === 7 && last !== undefined) {
          const repeated = await store.append(last.stream, last.events, 'any')
          if (repeated.position !== last.result.position) throw new Error('a repeat returned another result than the first append')
        } else {
          last = { stream, events, result: await store.append(stream, events, 'any', { patient: isDayStream(stream) }) }
        }
        if (i % 8 !== 7) tell({ acked: events.map((event) => event.id) })
      } catch (error) {
        if (error instanceof RevisionConflict) conflicts++
        else if (error instanceof EventRefused) refused++
        else throw error
      }
    }
  }
  await Promise.all(Array.from({ length: loopsPerWriter }, (_, n) => loop(n * 1_000)))
  await store.close()
  await pool.end()
  tell({ conflicts, refused })
  process.disconnect()
}
if (process.send !== undefined) await write()
