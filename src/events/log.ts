import type { FieldsOf } from './fields.ts'
import type { StreamName } from './streams.ts'

/** The only stream of the family `log`. Its events are about the audit log itself. */
export const logStream = 'log-00000000000000000000000000' as StreamName

/** The name of the messages that bring the newest head to subscribers. */
export const logHeadEvent = 'kolbak.log.head'

export interface LogEvents {
  /** From this event on, every command event has a MAC. */
  LogStarted: {
    /** The name of the log in its signed heads: `kolbak/` and a ULID. */
    readonly origin: string
    /** The key that verifies the signatures of heads, in the form of a signed note (C2SP): name, key id and key, joined by `+`. */
    readonly vkey: string
  }
  /** From this event on, the id of every attempt is its MAC, and every DeliveryReplayed has a MAC. */
  AttemptMacsStarted: Record<never, never>
  /** Names the root of the Merkle tree over all attempts and routing events in a range of positions, so that a later change of one is detected. */
  BatchSealed: {
    readonly of: 'deliveries'
    /** The checkpoint after which the batch begins, or null for the beginning. */
    readonly from: string | null
    /** The position of the last event of the batch. */
    readonly through: string
    readonly count: number
    /** The root (RFC 6962) in base64. */
    readonly root: string
    /** The earliest day in the names of the batch's streams. Once the retention has dropped this day, the batch cannot be computed again. */
    readonly oldest_day: string
  }
  /**
   * Names the root of a Merkle tree over the last events of all streams, tenant by tenant, at one size of the log. With it, it can be shown that a stream
   * had no later event.
   */
  StreamsListed: {
    /** The number of events of the log that the list covers. */
    readonly size: number
    /** The number of tenants, which are the leaves of the tree. */
    readonly tenants: number
    /** The root (RFC 6962) in base64. */
    readonly root: string
  }
  /** An operator has declared that some events which the last head covers are lost. The log goes on with the other events, under another origin. */
  LossDeclared: {
    readonly origin: string
    /** The last head that was given out, as a signed note. */
    readonly previous: string
    /** The number of leaves that are left. */
    readonly kept: number
    readonly root: string
    readonly reason: string
  }
}
export const logEventFields = {
  origin: 'clear',
  vkey: 'clear',
  of: 'clear',
  from: 'clear',
  through: 'clear',
  count: 'clear',
  root: 'clear',
  oldest_day: 'clear',
  size: 'clear',
  tenants: 'clear',
  previous: 'clear',
  kept: 'clear',
  reason: 'clear',
} as const satisfies FieldsOf<LogEvents>
