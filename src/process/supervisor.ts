import cluster, { type Worker } from 'node:cluster'
import { AggregatorRegistry } from 'prom-client'
import { ulid } from 'ulid'
import type { Config } from '../config/config.ts'
import { cannotStart } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning } from '../lib/retry.ts'
import { openDatabase } from '../service/database.ts'
import type { DeadOwners } from '../service/release-dead-owners.ts'
import type { Measurements, ToSupervisor, ToWorker } from './worker.ts'

/**
 * Runs the service in several worker processes that share one port. The supervisor does none of their work. It runs the embedded Postgres, replaces
 * workers that die, and combines the metrics of the workers.
 *
 * The first worker creates what is created only once (keys, the admin client). The other workers start when the first one is ready. When a worker
 * reports that it cannot start as configured, all workers are stopped and `onUnfit` is called.
 * @param signal ends the start: the workers are stopped, and the reason of the signal is thrown
 */
export async function supervise(options: {
  config: Config
  processes: number
  log: Log
  signal: AbortSignal
  onUnfit(): void
}): Promise<{ stop(): Promise<void> }> {
  const { config, processes, log, signal, onUnfit } = options
  signal.throwIfAborted()
  cluster.setupPrimary({ serialization: 'advanced' }) // JSON has no NaN, which stands for a failed measurement
  process.once('exit', () => signalAll('SIGKILL')) // workers must not remain after a second Ctrl-C or a failure
  const stopping = new AbortController()
  const workerLoops: Promise<void>[] = []
  const ready = new Set<Worker>()
  let haveDrained = true

  // The database opens while the first worker starts, so that the worker already listens and its health can be read.
  const database = config.DATABASE_URL === undefined ? openDatabase(config, { log, signal, waits: true }, { processes }) : undefined

  /** Runs one worker, and starts another worker whenever it ends. Resolves with the facts of the first worker that is ready. */
  const keepWorker = (deadAtStart: DeadOwners) =>
    new Promise<object>((resolve) => {
      let dead = deadAtStart
      const run = async () => {
        const processId = ulid()
        const worker = cluster.fork()
        const { pid } = worker.process
        worker.on('message', async (message: ToSupervisor) => {
          if ('ready' in message) {
            ready.add(worker)
            log.info({ worker: pid }, 'worker.ready')
            resolve(message.ready)
          }
          if (!('ask' in message)) return
          try {
            if (message.ask === 'scrape') tell(worker, { scrape: await scrape(ready) })
            else tell(worker, { assignment: { databaseUrl: (await database)?.url, processId, dead } })
          } catch (error) {
            log.debug({ error, worker: pid }, 'worker.no_reply') // a failed start ends the worker
          }
        })
        const exit = await exitOf(worker)
        const wasReady = ready.delete(worker)
        if (wasReady) dead = { owner: processId }
        // SIGTERM itself ends only a worker that has not begun to work.
        if (stopping.signal.aborted) haveDrained &&= exit.code === 0 || exit.signal === 'SIGTERM'
        else if (exit.code === cannotStart) end().finally(onUnfit)
        else {
          log.error({ worker: pid, ...exit }, 'worker.died')
          if (!wasReady) throw new Error('A worker died before it was ready.')
        }
      }
      const onError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'worker.delayed')
      workerLoops.push(keepRunning(run, { signal: stopping.signal, onError }))
    })

  let ending: Promise<void> | undefined
  const end = () => {
    ending ??= (async () => {
      stopping.abort()
      signalAll('SIGTERM')
      await Promise.all(workerLoops)
      const opened = await database?.catch(() => undefined) // the error is thrown below
      await opened?.stop()
    })()
    return ending
  }
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  interrupted.catch(() => {}) // the promise may be rejected while no code awaits it
  try {
    const [facts] = await Promise.race([interrupted, Promise.all([keepWorker(database === undefined ? 'none' : 'all'), database])])
    await Promise.race([interrupted, Promise.all(Array.from({ length: processes - 1 }, () => keepWorker('none')))])
    log.info({ ...facts, pid: process.pid, processes }, 'kolbak.ready')
  } catch (error) {
    await end()
    throw error
  }
  return {
    async stop() {
      await end()
      if (!haveDrained) throw new Error('A worker ended before it had drained.')
    },
  }
}

function signalAll(signal: NodeJS.Signals): void {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill(signal)
}
/** Sends a message to a worker. Errors are ignored, because `keepWorker` handles the exit of a dead worker. */
function tell(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, undefined, () => {})
}
/** Resolves when the worker has ended. Rejects when it could not be started. */
const exitOf = (worker: Worker) =>
  new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    worker.once('exit', (code: number | null, signal: string | null) => resolve({ code, signal }))
    worker.on('error', (error) => {
      if (worker.process.pid === undefined) reject(error)
    })
  })

/** Returns the combined metrics of these workers. Each metric says how it is aggregated (by default as a sum). */
async function scrape(workers: Iterable<Worker>): Promise<string> {
  return AggregatorRegistry.aggregate(await Promise.all([...workers].map(measurementsOf))).metrics()
}
/** Asks a worker for its measurements. Returns none for a worker that dies meanwhile. */
const measurementsOf = (worker: Worker) =>
  new Promise<Measurements>((resolve) => {
    const take = (message: ToSupervisor) => {
      if ('measured' in message) done(message.measured)
    }
    const nothing = () => done([])
    const done = (measured: Measurements) => {
      worker.off('message', take)
      worker.off('exit', nothing)
      resolve(measured)
    }
    worker.on('message', take)
    worker.once('exit', nothing)
    tell(worker, { measure: true })
  })
