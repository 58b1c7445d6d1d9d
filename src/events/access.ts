import type { Origin } from './envelope.ts'
import type { FieldsOf } from './fields.ts'

/** An event about requests that the same caller sent, at most a minute apart. */
interface Counted {
  /** The number of such requests. The metadata has the facts of the first one. */
  readonly count: number
  /** RFC 3339 time of the last one. */
  readonly until: string
}
/** The accesses to the data of a tenant, and the refused attempts at access. These events expire with the retention. */
export interface AccessEvents {
  /** A client read the audit log, a history or a past state, or the auditor of the service read anything. */
  AuditRead: {
    readonly url: string
    /** The number of events or resources that the response showed. Events of version 0.2 and live streams, which have no end, lack it. */
    readonly lines?: number
    readonly origin: Origin | null
  }
  /** Requests were refused with 401, 403 or 412. */
  AccessDenied: Counted & { readonly status: number; readonly code: string; readonly origin: Origin | null }
  /** Somebody got no token. The id of the client is null if it has not the form of one. */
  TokenRefused: Counted & { readonly client_id: string | null; readonly code: string; readonly origin: Origin | null }
  /** A process had more than 1,000 different events in a minute, and only counted the others. */
  AccessesOmitted: Counted
}
export const accessEventFields = {
  url: 'clear',
  lines: 'clear',
  status: 'clear',
  code: 'clear',
  client_id: 'clear',
  count: 'clear',
  until: 'clear',
  origin: 'sealed_json',
} as const satisfies FieldsOf<AccessEvents>
