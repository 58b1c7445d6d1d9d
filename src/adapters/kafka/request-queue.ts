import { createRequire } from 'node:module'

/** What is changed here of the requests that wait in a connection of kafkajs. */
interface RequestQueue {
  readonly pending: readonly unknown[]
  scheduleCheckPendingRequests(): void
}
const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue') as { readonly prototype: RequestQueue }
const schedule = prototype.scheduleCheckPendingRequests

/**
 * kafkajs 2.2.4 looks every millisecond, on every connection and for ever, whether a request waits (tulios/kafkajs#1704). It
 * need look only while one does: whatever comes to wait says so itself.
 */
prototype.scheduleCheckPendingRequests = function () {
  if (this.pending.length > 0) schedule.call(this)
}
