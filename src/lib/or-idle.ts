/** Yields the items of the source. When no item has come for `ms` after the last one, yields null once. */
export async function* orIdle<T>(source: AsyncIterable<T>, ms: number): AsyncGenerator<T | null> {
  const items = source[Symbol.asyncIterator]()
  let timer: NodeJS.Timeout | undefined
  const silence = () =>
    new Promise<null>((resolve) => {
      timer = setTimeout(resolve, ms, null)
    })
  try {
    let next = items.next()
    for (let isIdle = true; ; ) {
      const item: IteratorResult<T> | null = isIdle ? await next : await Promise.race([next, silence()])
      clearTimeout(timer)
      isIdle = item === null
      if (item === null) yield null
      else if (item.done === true) return
      else {
        yield item.value
        next = items.next()
      }
    }
  } finally {
    clearTimeout(timer)
    await items.return?.()
  }
}
