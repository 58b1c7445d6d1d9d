/**
 * Writes together the items that arrive during the previous write. One fsync then serves hundreds of items, and a lone item is
 * written at once. If all waiting items are patient, they wait up to `lingerMs` for more.
 */
export interface GroupCommit<I, R> {
  /** Resolves with the result of the item once its group is durable, or rejects with the error of the item. */
  add(item: I, options?: { patient?: boolean }): Promise<R>
  /** The number of items that wait or are being written. */
  readonly size: number
  /** Resolves when no item waits or is being written. */
  idle(): Promise<void>
}
interface GroupCommitOptions<I, R> {
  /** Writes all items together. Returns one result for each item, in their order. */
  write(items: readonly I[]): Promise<readonly R[]>
  /** Returns the size of an item. A group has at least one item. Further items are added up to `maxCount` (500) and `maxBytes` (1 MiB). */
  bytesOf?(item: I): number
  maxBytes?: number
  maxCount?: number
  lingerMs?: number
  /** The number of patient items that are written without waiting for more. Default `maxCount`. */
  enough?: number
  /** The most waiting items. Beyond them, `add` rejects with `full()`. Default 100,000. */
  maxWaiting?: number
  full?(): Error
  /** Returns whether an error is the fault of one item. The group is then halved until the faulty item fails alone. */
  isItemFault?(error: unknown): boolean
}

interface Waiting<I, R> {
  item: I
  bytes: number
  patient: boolean
  resolve(result: R): void
  reject(error: unknown): void
}

export function createGroupCommit<I, R>(options: GroupCommitOptions<I, R>): GroupCommit<I, R> {
  const {
    write,
    bytesOf = () => 0,
    maxBytes = 1 << 20,
    maxCount = 500,
    lingerMs = 0,
    enough = maxCount,
    maxWaiting = 100_000,
    isItemFault = () => false,
  } = options
  const full = options.full ?? (() => new Error('Too many items are waiting to be written.'))
  let waiting: Waiting<I, R>[] = []
  let writing = 0
  let waitingBytes = 0
  let linger: NodeJS.Timeout | undefined
  let impatient = false
  const idlers: (() => void)[] = []

  const settle = async (group: readonly Waiting<I, R>[]): Promise<void> => {
    try {
      const results = await write(group.map((w) => w.item))
      if (results.length !== group.length) throw new Error(`${group.length} items were written, but there are ${results.length} results`)
      group.forEach((w, i) => {
        w.resolve(results[i]!)
      })
    } catch (error) {
      if (group.length === 1 || !isItemFault(error)) {
        for (const w of group) w.reject(error)
        return
      }
      const middle = group.length >> 1
      await settle(group.slice(0, middle))
      await settle(group.slice(middle))
    }
  }
  const take = (): Waiting<I, R>[] => {
    let count = 0
    let bytes = 0
    while (count < waiting.length && count < maxCount && (count === 0 || bytes + waiting[count]!.bytes <= maxBytes))
      bytes += waiting[count++]!.bytes
    const group = waiting.slice(0, count)
    waiting = waiting.slice(count)
    waitingBytes -= bytes
    impatient = waiting.some((w) => !w.patient)
    return group
  }
  const go = (): void => {
    clearTimeout(linger)
    linger = undefined
    if (writing > 0 || waiting.length === 0) return
    const group = take()
    writing = group.length
    void settle(group).finally(() => {
      writing = 0
      if (waiting.length > 0) consider()
      else for (const done of idlers.splice(0)) done()
    })
  }
  const consider = (): void => {
    if (writing > 0) return
    if (impatient || lingerMs === 0 || waiting.length >= enough || waitingBytes >= maxBytes) go()
    else linger ??= setTimeout(go, lingerMs)
  }
  let scheduled = false
  return {
    get size() {
      return waiting.length + writing
    },
    add(item, { patient = false } = {}) {
      if (waiting.length >= maxWaiting) return Promise.reject(full())
      return new Promise((resolve, reject) => {
        const bytes = bytesOf(item)
        waiting.push({ item, bytes, patient, resolve, reject })
        waitingBytes += bytes
        if (!patient) impatient = true
        if (scheduled) return
        scheduled = true
        // The write starts in a microtask, so that items which are added in the same task are written together.
        queueMicrotask(() => {
          scheduled = false
          consider()
        })
      })
    },
    async idle() {
      if (waiting.length + writing === 0) return
      await new Promise<void>((resolve) => {
        idlers.push(resolve)
      })
    },
  }
}

/** Returns whether an error is a fault of the data: SQLSTATE class 22 (data), 23 (integrity) or 54 (program limit). */
export const isDataError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(22|23|54)/.test(error.code)
