import { ApiError } from '../errors.ts'

/** The most streams of one caller, and of one process. */
const maxOfCaller = 5
const maxStreams = 200

/** Limits the live streams, because each of them keeps a connection and up to 1 MiB. */
export interface StreamLimits {
  /** Throws too_many_streams. Returns a function that ends the stream. It may be called more than once. */
  begin(caller: string): () => void
}
export function createStreamLimits(): StreamLimits {
  const counts = new Map<string, number>()
  let total = 0
  return {
    begin(caller) {
      const count = counts.get(caller) ?? 0
      if (count >= maxOfCaller || total >= maxStreams)
        throw new ApiError(
          'too_many_streams',
          count >= maxOfCaller
            ? `This caller has ${maxOfCaller} live streams open, which is the limit: close one first.`
            : 'This process serves as many live streams as it can: try again later.',
          { headers: { 'retry-after': '5' } },
        )
      counts.set(caller, count + 1)
      total++
      let isOpen = true
      return () => {
        if (!isOpen) return
        isOpen = false
        total--
        const remaining = (counts.get(caller) ?? 1) - 1
        if (remaining === 0) counts.delete(caller)
        else counts.set(caller, remaining)
      }
    },
  }
}
