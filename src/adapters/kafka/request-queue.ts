import { createRequire } from 'node:module'

/** The part of kafkajs's queue of requests that is changed here. */
interface RequestQueue {
  readonly pending: readonly unknown[]
  scheduleCheckPendingRequests(): void
}
const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue') as { readonly prototype: RequestQueue }
const schedule = prototype.scheduleCheckPendingRequests

/**
 * kafkajs 2.2.4 checks every connection each millisecond for waiting requests, for ever (tulios/kafkajs#1704). With this change it checks only while
 * a request waits, because adding a request schedules the check.
 */
prototype.scheduleCheckPendingRequests = function () {
  if (this.pending.length > 0) schedule.call(this)
}
