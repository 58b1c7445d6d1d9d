import cluster from 'node:cluster'
import { on } from 'node:events'
import type { MetricObjectWithValues, MetricValue } from 'prom-client'
import type { Assignment, Supervised } from '../service/supervised.ts'

export type Measurements = MetricObjectWithValues<MetricValue<string>>[]
/** The questions of a worker to its supervisor, with the types of the replies. The message with a reply has the name of its question. */
export interface Replies {
  readonly assignment: Assignment
  /** The metrics of all workers in Prometheus' text format. */
  readonly scrape: string
}
export type ToSupervisor = { readonly ask: keyof Replies } | { readonly ready: object } | { readonly measured: Measurements }
export type ToWorker = Pick<Replies, 'assignment'> | Pick<Replies, 'scrape'> | { readonly measure: true }

/** @param onLost called when the supervisor is gone, because no process would then replace this worker */
export function createSupervised(onLost: () => void): Supervised {
  const { worker } = cluster
  worker?.once('disconnect', () => {
    worker.exitedAfterDisconnect = true // otherwise Node ends the process at once
    onLost()
  })
  return {
    assignment: (signal) => ask('assignment', signal),
    ready(facts, registry) {
      process.on('message', (message: ToWorker) => {
        if ('measure' in message)
          registry.getMetricsAsJSON().then(
            (measured) => tell({ measured }),
            () => {}, // the supervisor counts a worker without a reply as dead
          )
      })
      tell({ ready: facts })
    },
    scrape: () => ask('scrape', AbortSignal.timeout(10_000)),
  }
}

/** Sends a message to the supervisor. Errors are ignored, because they mean that the supervisor is gone. */
function tell(message: ToSupervisor): void {
  process.send?.(message, undefined, undefined, () => {})
}
/**
 * Asks the supervisor a question and returns the reply. The supervisor sends nothing unasked, because Node drops a message that has no listener yet.
 */
async function ask<N extends keyof Replies>(name: N, signal: AbortSignal): Promise<Replies[N]> {
  const messages = on(process, 'message', { signal })
  tell({ ask: name })
  for await (const [message] of messages) if (name in message) return message[name]
  throw new Error('The messages of the supervisor have ended.')
}
