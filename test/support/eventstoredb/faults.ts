import { pause } from '../../../src/lib/retry.ts'

/** What the double does wrong; set at any time. */
export interface FaultSettings {
  /** Every answer is held back so long, in milliseconds. */
  delayMs: number
  /** The next so many calls fail with UNAVAILABLE, and do nothing. */
  failNext: number
  /** The next so many appends are done and never answered. */
  loseNext: number
  /** The next so many appends are done at once and answered after `lateMs`. */
  lateNext: number
  lateMs: number
  /** $all may not be read, as by a user who is not in $admins. */
  denyAll: boolean
}
export type Method = 'append' | 'batchAppend' | 'delete' | 'tombstone' | 'read' | 'subscribe'

export interface Faults {
  readonly settings: FaultSettings
  /** How many calls of each method have begun. */
  readonly calls: Record<Method, number>
  /** Counts a call; answers whether it is to fail. */
  enter(method: Method): boolean
  /** Waits as long as the answer is held back; answers whether it is to be given. */
  beforeAnswer(isAppend: boolean): Promise<boolean>
}

export function faults(): Faults {
  const settings: FaultSettings = { delayMs: 0, failNext: 0, loseNext: 0, lateNext: 0, lateMs: 0, denyAll: false }
  const calls = { append: 0, batchAppend: 0, delete: 0, tombstone: 0, read: 0, subscribe: 0 }
  return {
    settings,
    calls,
    enter(method) {
      calls[method]++
      if (settings.failNext === 0) return false
      settings.failNext--
      return true
    },
    async beforeAnswer(isAppend) {
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
