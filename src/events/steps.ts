import { tracingChannel } from 'node:diagnostics_channel'

/**
 * The steps that have an effect, in the order in which a message and a command pass them. A process may die just before or just after any
 * of them, and the half-done work must then complete by itself. The tests kill a process at each of them
 * (test/faults/crash-points.test.ts), so every new step with an effect is named here.
 */
export const points = [
  // Steps of the API
  'message.produce',
  'batch.produce',
  'produce.index',
  'command.append',
  'command.note',
  'replay.append',
  'job.begin',
  // Steps of routing
  'route.archive',
  'route.index',
  'route.append',
  'route.reject',
  // Steps of deliveries
  'delivery.post',
  'delivery.append',
  'schedule.park',
  'schedule.claim',
  'schedule.renew',
  'schedule.done',
  'offsets.save',
  // Steps of replay jobs
  'job.plan',
  'job.done',
  'job.end',
  // Steps of projections
  'history.record',
  'projection.transaction',
  'projection.rows',
  'projection.checkpoint',
  // Steps of the audit log
  'log.start',
  'log.start_position',
  'log.head',
  'log.anchor',
  'log.batch',
  'log.cosignature',
  'log.send',
  'log.list',
  'access.append',
  // Steps of erasures
  'erasure.bodies',
  'erasure.retries',
  'erasure.keys',
  // Steps of several parts
  'leases.take',
  'leases.renew',
  // Steps of one engine
  'eventstoredb.limit',
  'eventstoredb.repeat',
  'cassandra.places',
] as const
export type Point = (typeof points)[number]
/**
 * Steps that run only after something else has failed (a read model that is behind, an append whose result is unknown), or once in the life of a
 * database.
 */
export const rarePoints: ReadonlySet<Point> = new Set(['command.note', 'eventstoredb.repeat', 'log.start', 'log.start_position'])

/** Publishes the start and the end of each step with `{ point }`, and also `error` when the step has failed. */
export const steps = tracingChannel<unknown, { point: Point; error?: unknown }>('kolbak.step')

/** Runs a step that has an effect. Without a listener it only calls `work`. */
export const step = <T>(point: Point, work: () => Promise<T>): Promise<T> => steps.tracePromise(work, { point })
