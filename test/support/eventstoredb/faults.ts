import { pause } from '../../../src/lib/retry.ts'

/** The faults of the double. They can be set at any time. */
export interface FaultSettings {
  /** Milliseconds by which every response is delayed. */
  delayMs: number
  /** This many of the next calls fail with UNAVAILABLE and have no effect. */
  failNext: number
  /** This many of the next appends are stored and get no response. */
  loseNext: number
  /** This many of the next appends are stored at once and get their response after `lateMs`. */
  lateNext: number
  lateMs: number
  /** Whether reading $all is refused, as for a user who is not in $admins. */
  denyAll: boolean
}
export type Method = 'append' | 'batchAppend' | 'delete' | 'tombstone' | 'read' | 'subscribe'

export interface Faults {
  readonly settings: FaultSettings
  /** Number of calls of each method that have begun. */
  readonly calls: Record<Method, number>
  /** Counts a call. Returns true if the call must fail. */
  countCall(method: Method): boolean
  /** Waits until the response may be sent. Returns false if it must not be sent at all. */
  beforeResponse(isAppend: boolean): Promise<boolean>
}

export function createFaults(): Faults {
  const settings: FaultSettings = { delayMs: 0, failNext: 0, loseNext: 0, lateNext: 0, lateMs: 0, denyAll: false }
  const calls = { append: 0, batchAppend: 0, delete: 0, tombstone: 0, read: 0, subscribe: 0 }
  return {
    settings,
    calls,
    countCall(method) {
      calls[method]++
      if (settings.failNext === 0) return false
      settings.failNext--
      return true
    },
    async beforeResponse(isAppend) {
      if (isAppend && settings.loseNext > 0) {
        settings.loseNext--
        return false
      }
      let ms = settings.delayMs
      if (isAppend && settings.lateNext > 0) {
        settings.lateNext--
        ms += settings.lateMs
      }
      if (ms > 0) await pause(ms)
      return true
    },
  }
}
