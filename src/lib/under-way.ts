/** Remembers calls until they are answered, so that whoever closes can wait for them. */
export interface UnderWay {
  track<T>(call: Promise<T>): Promise<T>
  /** Resolves when all that is under way now has ended, however it did. */
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
