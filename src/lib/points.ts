import { tracingChannel } from 'node:diagnostics_channel'

/**
 * The steps of a message's way, and of the commands beside it, that leave something behind. A process may die just before or
 * just after any of them, and what is then half done must come right by itself: the tests kill it at each
 * (test/faults/crash-points.test.ts), so whoever adds a step with an effect names it here.
 */
export const points = [
  // The API
  'message.produce',
  'batch.produce',
  'command.append',
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

/** Publishes the start of each step and its end, with `{ point }`, and `error` where it has failed. */
export const steps = tracingChannel<unknown, { point: Point; error?: unknown }>('kolbak.step')

/** Does a step that has an effect. While nobody listens it is the call alone. */
export const step = <T>(point: Point, work: () => Promise<T>): Promise<T> => steps.tracePromise(work, { point })
