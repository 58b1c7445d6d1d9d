/**
 * Does the work for every item, at most so many at once, and answers the results in the order of the items. After a
 * failure it begins no more, waits for what is under way, and throws the first.
 */
export async function mapBounded<T, R>(items: readonly T[], atOnce: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length)
  const failures: unknown[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const i = next++
      try {
        results[i] = await work(items[i]!)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
  return results
}

/** Lets at most so many pieces of work run at once; the others wait in the order in which they came. */
export function createLimiter(count: number): <R>(work: () => Promise<R>) => Promise<R> {
  let free = count
  const waiting: (() => void)[] = []
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((go) => waiting.push(go))
    try {
      return await work()
    } finally {
      // Handed on, not given back: whoever comes meanwhile cannot overtake those that wait.
      const go = waiting.shift()
      if (go === undefined) free++
      else go()
    }
  }
}
