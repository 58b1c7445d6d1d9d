import type { Log } from '../lib/log.ts'

/** The started parts of the service. They are stopped in the reverse order of their start, even when the start of a later part fails. */
export interface Parts {
  add(name: string, stop: () => Promise<unknown>): void
  /** Stops every part. When a part fails to stop, the error is logged and the other parts are still stopped. */
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
