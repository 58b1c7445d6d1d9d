import cluster from 'node:cluster'
import { describeConfig, processCount, readConfig } from './config/config.ts'
import { onEndSignal } from './lib/end-signals.ts'
import { cannotStart, exitCodeOf, lineOf } from './lib/errors.ts'
import { createLog } from './lib/log.ts'
import { refuseArguments } from './process/arguments.ts'
import { createTerminalText, describeChanges, isLogText } from './process/terminal-log.ts'
import { createSupervised } from './process/worker.ts'

/**
 * Runs the service as one process, or as the supervisor or a worker of several processes. Exit codes: 0 after draining, 1 after a failure in
 * operation or while draining, 2 if it was called with an argument that it does not know, 78 (EX_CONFIG) if it cannot start as configured.
 */
async function main(): Promise<void> {
  refuseArguments(process.argv.slice(2))
  const config = readConfig()
  const { isWorker } = cluster
  const processes = processCount(config)
  const isText = isLogText(config)
  const ownLog = createLog(config.KOLBAK_LOG_LEVEL, { isText, textOf: createTerminalText(config) })
  const log = isWorker ? ownLog.child({ worker: process.pid }) : ownLog
  if (!isWorker) log.info({ config: isText ? describeChanges(config) : describeConfig(config), processes }, 'kolbak.starting')

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
  const endAtOnce = (signal: NodeJS.Signals) => {
    // A worker gets Ctrl-C and also the signal of its supervisor, so it ignores a second signal. The supervisor kills its workers at the second
    // signal.
    if (isWorker) return
    // Work in flight is repeated after the next start.
    log.warn({ signal }, 'kolbak.killed')
    process.exit(1)
  }
  const drain = (why: object, exitCode = 0) => {
    if (stopping) return
    stopping = true
    log.info(why, 'kolbak.draining')
    starting.abort(stoppedEarly)
    setTimeout(() => {
      log.error({ limitMs: config.KOLBAK_DRAIN_TIMEOUT_MS }, 'kolbak.drain_timed_out')
      process.exit(1)
    }, config.KOLBAK_DRAIN_TIMEOUT_MS).unref()
    stop().then(
      () => {
        log.info({}, 'kolbak.stopped')
        process.exit(exitCode)
      },
      (error: unknown) => {
        log.error({ error }, 'kolbak.drain_failed')
        process.exit(1)
      },
    )
  }
  const { signal } = starting
  const start = async (): Promise<{ stop(): Promise<void> }> => {
    if (!isWorker && processes > 1) {
      const { supervise } = await import('./process/supervisor.ts') // the supervisor does not load the service, which would take a third of its memory
      return supervise({ config, processes, log, signal, onUnfit: () => process.exit(cannotStart) })
    }
    const { compose } = await import('./service/compose.ts')
    return compose(config, log, {
      signal,
      supervised: isWorker ? createSupervised(() => drain({ supervisor: 'gone' })) : undefined,
      onSuperseded(error) {
        console.error(`kolbak: ${lineOf(error)}`)
        drain({ error: error.code }, cannotStart)
      },
    })
  }
  const service = start()
  stop = () =>
    service.then(
      (running) => running.stop(),
      (error: unknown) => {
        if (error !== stoppedEarly) throw error // a start that was stopped early has already stopped its parts
      },
    )
  onEndSignal((signal) => drain({ signal }), endAtOnce)
  await service
}

/** The reason of a start that was stopped while it waited for an engine. */
const stoppedEarly = new Error('stopped while starting')

main().catch((error: unknown) => {
  if (error === stoppedEarly) return // the handler of the signal ends the process
  console.error(lineOf(error) === undefined ? error : `kolbak: ${lineOf(error)}`)
  process.exit(exitCodeOf(error))
})
