import cluster, { type Worker } from 'node:cluster'
import { AggregatorRegistry } from 'prom-client'
import { ulid } from 'ulid'
import type { Config } from '../config/config.ts'
import { cannotStart } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { keepRunning } from '../lib/retry.ts'
import { openDatabase } from '../service/engines.ts'
import type { Measurements, ToSupervisor, ToWorker } from './worker.ts'

/**
 * Runs the service in several processes of this program, its workers, which share one port. The supervisor has no part in the
 * work: it keeps the embedded Postgres, starts again whoever dies, and adds up what they measure.
 *
 * The first worker makes what is made once (keys, the admin client); the others come when it is ready. When one cannot start as
 * configured, which it says itself, all are stopped and `onUnfit` is told.
 * @param signal ends the start: what runs is stopped, and the signal's reason is thrown
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
  cluster.setupPrimary({ serialization: 'advanced' }) // JSON has no NaN, which is what cannot be measured
  process.once('exit', () => signalAll('SIGKILL')) // those that are left when it was asked twice, or has failed
  const stopping = new AbortController()
  const places: Promise<void>[] = []
  const ready = new Set<Worker>()
  let haveDrained = true

  // The first worker listens meanwhile, so that it is seen to live.
  const opening =
    config.DATABASE_URL === undefined ? openDatabase(config, { log, signal, waits: true }, { join: false, processes }) : undefined

  /** One worker after another. Resolves with what the first that is ready says of itself. */
  const keepWorker = (dead: string | null) =>
    new Promise<object>((resolve) => {
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
            else tell(worker, { assignment: { databaseUrl: (await opening)?.url, processId, dead } })
          } catch (error) {
            log.debug({ error, worker: pid }, 'worker.not_answered') // a start that has failed ends it
          }
        })
        const { code, signal } = await exitOf(worker)
        const wasReady = ready.delete(worker)
        if (wasReady) dead = processId
        // One that SIGTERM itself has ended had not begun.
        if (stopping.signal.aborted) haveDrained &&= code === 0 || signal === 'SIGTERM'
        else if (code === cannotStart) end().finally(onUnfit)
        else {
          log.error({ worker: pid, code, signal }, 'worker.died')
          if (!wasReady) throw new Error('A worker has died before it was ready.')
        }
      }
      const onError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'worker.delayed')
      places.push(keepRunning(run, { signal: stopping.signal, onError }))
    })

  let ending: Promise<void> | undefined
  const end = () => {
    ending ??= (async () => {
      stopping.abort()
      signalAll('SIGTERM')
      await Promise.all(places)
      const database = await opening?.catch(() => undefined) // thrown below
      await database?.stop()
    })()
    return ending
  }
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  interrupted.catch(() => {}) // it may come when nobody waits any more
  try {
    const [facts] = await Promise.race([interrupted, Promise.all([keepWorker(opening === undefined ? null : 'all'), opening])])
    await Promise.race([interrupted, Promise.all(Array.from({ length: processes - 1 }, () => keepWorker(null)))])
    log.info({ ...facts, pid: process.pid, processes }, 'kolbak.ready')
  } catch (error) {
    await end()
    throw error
  }
  return {
    async stop() {
      await end()
      if (!haveDrained) throw new Error('A worker has ended before it had drained.')
    },
  }
}

function signalAll(signal: NodeJS.Signals): void {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill(signal)
}
/** A worker that has died meanwhile is seen by its exit. */
function tell(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, undefined, undefined, () => {})
}
/** Rejects when it could not be started. */
const exitOf = (worker: Worker) =>
  new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    worker.once('exit', (code: number | null, signal: string | null) => resolve({ code, signal }))
    worker.on('error', (error) => {
      if (worker.process.pid === undefined) reject(error)
    })
  })

/** What these workers have measured, each measurement aggregated as it says (a sum by default). */
async function scrape(workers: Iterable<Worker>): Promise<string> {
  return AggregatorRegistry.aggregate(await Promise.all([...workers].map(measurementsOf))).metrics()
}
/** Nothing from one that dies meanwhile. */
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
