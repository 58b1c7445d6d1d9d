/**
 * Does the work for every item, for at most `atOnce` items at a time. Returns the results in the order of the items. After a failure no
 * further work begins. The function then waits for the work in flight and throws the first error.
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

/** Returns a function that runs `work`, at most `count` pieces of it at once. Further work waits, first come, first served. */
export function createLimiter(count: number): <R>(work: () => Promise<R>) => Promise<R> {
  let freePlaces = count
  const waiting: (() => void)[] = []
  return async (work) => {
    if (freePlaces > 0) freePlaces--
    else await new Promise<void>((go) => waiting.push(go))
    try {
      return await work()
    } finally {
      // The right to run goes directly to the next waiting work, so that new work cannot overtake it.
      const go = waiting.shift()
      if (go === undefined) freePlaces++
      else go()
    }
  }
}
