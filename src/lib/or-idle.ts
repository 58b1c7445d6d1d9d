import { pause } from './retry.ts'

/** What the source yields; and null, once, when it has yielded nothing for `ms` after something. */
export async function* orIdle<T>(source: AsyncIterable<T>, ms: number): AsyncGenerator<T | null> {
  const items = source[Symbol.asyncIterator]()
  try {
    let next = items.next()
    for (let isIdle = true; ; ) {
      const waited = new AbortController()
      const item: IteratorResult<T> | null = isIdle ? await next : await Promise.race([next, pause(ms, waited.signal).then(() => null)])
      waited.abort()
      isIdle = item === null
      if (item === null) yield null
      else if (item.done === true) return
      else {
        yield item.value
        next = items.next()
      }
    }
  } finally {
    await items.return?.()
  }
}
