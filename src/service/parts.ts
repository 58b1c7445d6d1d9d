import type { Log } from '../lib/log.ts'

/** What has been started, to be stopped in the opposite order, also when a start fails half way. */
export interface Parts {
  add(name: string, stop: () => Promise<unknown>): void
  /** Stops every part. A part that fails to stop is logged, and the others are stopped all the same. */
  stop(): Promise<void>
}

export function createParts(log: Log): Parts {
  const started: { readonly name: string; readonly stop: () => Promise<unknown> }[] = []
  return {
    add(name, stop) {
      started.push({ name, stop })
    },
    async stop() {
      for (const { name, stop } of started.splice(0).reverse()) {
        log.debug({ part: name }, 'part.stopping')
        try {
          await stop()
        } catch (error) {
          log.error({ error, part: name }, 'part.stop_failed')
        }
      }
    },
  }
}
