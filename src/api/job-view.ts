import type { ReplayJob } from '../commands/replay-jobs.ts'
import type { Job } from './responses.ts'

/** Returns the fields of a job that responses show. */
export const jobView = (row: ReplayJob): Job => ({
  id: row.id,
  type: 'replay',
  webhook_id: row.webhook,
  status: row.status,
  reason: row.reason,
  since: row.since,
  until: row.until,
  delivery_status: row.delivery_status,
  delivery_event: row.delivery_event,
  delivery_reason: row.delivery_reason,
  delivery_code: row.delivery_code,
  expected: row.expected,
  replayed: row.replayed,
  skipped: row.skipped,
  created_at: row.created_at,
  updated_at: row.updated_at,
  finished_at: row.finished_at,
})
