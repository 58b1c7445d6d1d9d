import { codeOf } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'

/** The stages of the dispatcher, each with the log message of a failure and the beginning of a sentence about it. */
const stages = {
  consuming: { message: 'consume.failed', sentence: 'Taking messages from the bus' },
  routing: { message: 'routing.failed', sentence: 'Routing' },
  delivering: { message: 'delivery.failed', sentence: 'Sending or recording deliveries' },
  claiming: { message: 'due.failed', sentence: 'Claiming scheduled deliveries' },
} as const
type Stage = keyof typeof stages

interface Failing {
  readonly since: number
  cause: string
}
/**
 * Distinguishes a stage that fails once from one that keeps failing. A failure is logged as a warning. If a stage has failed for 10 s without a
 * success, its failures are logged as errors, and the process is not ready until the stage succeeds.
 */
export class StageHealth {
  private readonly failing = new Map<Stage, Failing>()
  private readonly log: Log
  private readonly lastingMs: number
  private readonly now: () => number

  /**
   * @param lastingMs a stage is a problem after it has failed for this many milliseconds without a success. Back-off allows about eight tries in 10
   * s.
   * @param now milliseconds of a monotonic clock
   */
  constructor(log: Log, { lastingMs = 10_000, now = () => performance.now() }: { lastingMs?: number; now?: () => number } = {}) {
    this.log = log
    this.lastingMs = lastingMs
    this.now = now
  }
  succeeded(stage: Stage): void {
    if (this.failing.size > 0) this.failing.delete(stage)
  }
  failed(stage: Stage, error: unknown, fields: object = {}): void {
    const cause = codeOf(error) ?? (error instanceof Error ? error.name : 'error')
    const failing = this.failing.get(stage) ?? { since: this.now(), cause }
    failing.cause = cause
    this.failing.set(stage, failing)
    const { message } = stages[stage]
    if (this.isLasting(failing)) this.log.error({ error, ...fields }, message)
    else this.log.warn({ error, ...fields }, message)
  }
  /** A sentence for the operator about the stages that keep failing, or null. */
  get problem(): string | null {
    const lasting = [...this.failing].filter(([, failing]) => this.isLasting(failing))
    if (lasting.length === 0) return null
    return lasting.map(([stage, failing]) => this.sentenceOf(stage, failing)).join(' ')
  }
  private isLasting({ since }: Failing): boolean {
    return this.now() - since >= this.lastingMs
  }
  private sentenceOf(stage: Stage, { since, cause }: Failing): string {
    const seconds = Math.round((this.now() - since) / 1_000)
    return `${stages[stage].sentence} has failed for ${seconds} s (${cause}): see ${stages[stage].message} in the log.`
  }
}
