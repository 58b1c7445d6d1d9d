import cluster from 'node:cluster'
import { on } from 'node:events'
import type { MetricObjectWithValues, MetricValue } from 'prom-client'
import type { Assignment, Supervised } from '../service/supervised.ts'

export type Measurements = MetricObjectWithValues<MetricValue<string>>[]
/** What a worker asks its supervisor for, and gets in a message under the same name. */
export interface Answers {
  readonly assignment: Assignment
  /** The measurements of all workers in one, as Prometheus reads them. */
  readonly scrape: string
}
export type ToSupervisor = { readonly ask: keyof Answers } | { readonly ready: object } | { readonly measured: Measurements }
export type ToWorker = Pick<Answers, 'assignment'> | Pick<Answers, 'scrape'> | { readonly measure: true }

/** @param onLost told when the supervisor is gone: nobody is there to start anything again */
export function createSupervised(onLost: () => void): Supervised {
  const { worker } = cluster
  worker?.once('disconnect', () => {
    worker.exitedAfterDisconnect = true // else Node ends the process at once
    onLost()
  })
  return {
    assignment: (signal) => ask('assignment', signal),
    ready(facts, registry) {
      process.on('message', (message: ToWorker) => {
        if ('measure' in message)
          registry.getMetricsAsJSON().then(
            (measured) => tell({ measured }),
            () => {}, // unanswered, it fails who asked
          )
      })
      tell({ ready: facts })
    },
    scrape: () => ask('scrape', AbortSignal.timeout(10_000)),
  }
}

/** A supervisor that is gone need not know. */
function tell(message: ToSupervisor): void {
  process.send?.(message, undefined, undefined, () => {})
}
/** The worker asks, and is not told by itself: Node drops what comes before somebody listens. */
async function ask<N extends keyof Answers>(name: N, signal: AbortSignal): Promise<Answers[N]> {
  const messages = on(process, 'message', { signal })
  tell({ ask: name })
  for await (const [message] of messages) if (name in message) return message[name]
  throw new Error('The messages of the supervisor have ended.')
}
