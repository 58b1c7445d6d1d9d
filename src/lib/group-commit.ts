/**
 * Gathers what arrives while the last write is under way and writes it as one: one fsync then serves hundreds, and a
 * lone item waits for nobody (or, when every waiting item is patient, up to `lingerMs` for company).
 */
export interface GroupCommit<I, R> {
  /** Resolves with the item's own result once its group is durable; rejects with its own error. */
  add(item: I, options?: { patient?: boolean }): Promise<R>
  /** Items waiting or being written. */
  readonly size: number
  /** Resolves when nothing is waiting or under way. */
  idle(): Promise<void>
}
export interface GroupCommitOptions<I, R> {
  /** Writes all items as one, and answers one result an item in their order. */
  write(items: readonly I[]): Promise<readonly R[]>
  /** Bytes of an item; a group is bounded by `maxBytes` (1 MiB) and `maxCount` (500), but always takes one item. */
  bytesOf?(item: I): number
  maxBytes?: number
  maxCount?: number
  lingerMs?: number
  /** Beyond so many waiting items `add` rejects with `full()`. Default 100,000. */
  maxWaiting?: number
  full?(): Error
  /** Whether an error is one item's own: the group is then halved until the faulty item fails alone. */
  isPoison?(error: unknown): boolean
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
    maxWaiting = 100_000,
    isPoison = () => false,
  } = options
  const full = options.full ?? (() => new Error('too much is waiting to be written'))
  let waiting: Waiting<I, R>[] = []
  let writing = 0
  let waitingBytes = 0
  let linger: NodeJS.Timeout | undefined
  let impatient = false
  const idlers: (() => void)[] = []

  const settle = async (group: readonly Waiting<I, R>[]): Promise<void> => {
    try {
      const results = await write(group.map((w) => w.item))
      if (results.length !== group.length) throw new Error(`${group.length} items were written, but ${results.length} answered`)
      group.forEach((w, i) => {
        w.resolve(results[i]!)
      })
    } catch (error) {
      if (group.length === 1 || !isPoison(error)) {
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
    if (impatient || lingerMs === 0 || waiting.length >= maxCount || waitingBytes >= maxBytes) go()
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
        // Items that are added together are written together; one alone does not wait for the loop to turn.
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

/** SQLSTATE classes that are an item's own fault: data (22), integrity (23), program limit (54). */
export const isDataError = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(22|23|54)/.test(error.code)
