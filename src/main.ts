import { compose } from './compose.ts'
import { describeConfig, readConfig } from './config.ts'
import { codeOf } from './lib/errors.ts'
import { createLog } from './lib/log.ts'

/** Exit codes: 0 drained, 1 failed in operation or while draining, 78 (EX_CONFIG) cannot start as configured. */
const cannotStart = 78

async function main(): Promise<void> {
  const config = readConfig()
  const log = createLog(config.KOLBAK_LOG_LEVEL)
  log.info({ config: describeConfig(config) }, 'kolbak.starting')

  process.on('unhandledRejection', (error) => {
    log.error({ error }, 'kolbak.unhandled_rejection')
    process.exit(1)
  })
  process.on('uncaughtException', (error) => {
    log.error({ error }, 'kolbak.uncaught_exception')
    process.exit(1)
  })
  let stopping = false
  const starting = new AbortController()
  let stop = async (): Promise<void> => {}
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) {
      // Asked twice: what is in flight comes again after the next start.
      log.warn({ signal }, 'kolbak.killed')
      process.exit(1)
    }
    stopping = true
    log.info({ signal }, 'kolbak.draining')
    starting.abort(stoppedEarly)
    setTimeout(() => {
      log.error({ limitMs: config.KOLBAK_DRAIN_TIMEOUT_MS }, 'kolbak.drain_timed_out')
      process.exit(1)
    }, config.KOLBAK_DRAIN_TIMEOUT_MS).unref()
    stop().then(
      () => {
        log.info({}, 'kolbak.stopped')
        process.exit(0)
      },
      (error: unknown) => {
        log.error({ error }, 'kolbak.drain_failed')
        process.exit(1)
      },
    )
  }
  const service = compose(config, log, { signal: starting.signal })
  stop = () =>
    service.then(
      (running) => running.stop(),
      (error: unknown) => {
        if (error !== stoppedEarly) throw error // else there is nothing left to stop
      },
    )
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  await service
}

/** Why a start has ended that was asked to stop while it waited for an engine. */
const stoppedEarly = new Error('stopped while starting')

main().catch((error: unknown) => {
  if (error === stoppedEarly) return // the handler of the signal ends the process
  // What an operator can mend is one sentence, under a code of ours; what is our fault comes with its stack.
  const code = codeOf(error)
  const cause = error instanceof Error && error.cause instanceof Error ? `\n  caused by: ${error.cause.message}` : ''
  console.error(code === undefined ? error : `kolbak: ${(error as Error).message} (${code})${cause}`)
  process.exit(code !== undefined && /^[a-z_]+$/.test(code) && !/unavailable$/.test(code) ? cannotStart : 1)
})
