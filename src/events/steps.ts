import { tracingChannel } from 'node:diagnostics_channel'

/**
 * The steps with an effect, on the way of a message and of commands. A process may die just before or just after any of them, and the
 * half-done work must then complete by itself. The tests kill a process at each of them (test/faults/crash-points.test.ts), so every new
 * step with an effect is named here.
 */
export const points = [
  // The API
  'message.produce',
  'batch.produce',
  'command.append',
  'command.note',
  'replay.append',
  'job.begin',
  // Routing
  'route.archive',
  'route.index',
  'route.append',
  'route.reject',
  // Deliveries
  'delivery.post',
  'delivery.append',
  'schedule.park',
  'schedule.claim',
  'schedule.renew',
  'schedule.done',
  'offsets.save',
  // Replay jobs
  'job.plan',
  'job.done',
  'job.end',
  // Projections
  'history.record',
  'projection.transaction',
  'projection.rows',
  'projection.checkpoint',
  // All of them
  'leases.take',
  'leases.renew',
  // Of one engine alone
  'eventstoredb.limit',
  'eventstoredb.repeat',
  'cassandra.places',
] as const
export type Point = (typeof points)[number]
/** Steps that are taken only after something else has failed: a read model that is behind, an append without an answer. */
export const rarePoints: ReadonlySet<Point> = new Set(['command.note', 'eventstoredb.repeat'])

/** Publishes the start and the end of each step, with `{ point }`, and `error` when the step has failed. */
export const steps = tracingChannel<unknown, { point: Point; error?: unknown }>('kolbak.step')

/** Does a step that has an effect. Without a listener this is only the call. */
export const step = <T>(point: Point, work: () => Promise<T>): Promise<T> => steps.tracePromise(work, { point })
