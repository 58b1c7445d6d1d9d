/** Tracks calls in progress, so that `close` can wait for their end. */
interface UnderWay {
  track<T>(call: Promise<T>): Promise<T>
  /** Resolves when all calls that are in progress now have ended, successfully or not. */
  ended(): Promise<void>
}

export function createUnderWay(): UnderWay {
  const calls = new Set<Promise<unknown>>()
  return {
    track(call) {
      calls.add(call)
      return call.finally(() => calls.delete(call))
    },
    async ended() {
      await Promise.allSettled(calls)
    },
  }
}
