import { LRUCache } from 'lru-cache'

/** Copies of states that may be up to a second old, so that a hot path need not ask the database about every request. */
export interface Recent<K, V> {
  /** The copy if it is fresh; and once it is half through its age, a new one is fetched meanwhile. */
  peek(key: K): V | undefined
  /** A fresh copy, or a new one; null when there is no such thing (which is never remembered). */
  get(key: K): Promise<V | null>
  /** A new one in any case. */
  reload(key: K): Promise<V | null>
  /** Whether a copy was ever taken and is still held, fresh or not. */
  knows(key: K): boolean
}

interface Copy<V> {
  value: V
  /** When it was asked for, so that a slow answer counts as old. */
  askedAt: number
}

/**
 * @param load may take its time when it is a renewal: nobody waits for it
 * @param now monotonic milliseconds
 */
export function recent<K extends string, V extends object>(
  load: (key: K, isRenewal: boolean) => Promise<V | null>,
  { maxAgeMs = 1_000, max = 10_000, now = () => performance.now() }: { maxAgeMs?: number; max?: number; now?: () => number } = {},
): Recent<K, V> {
  const copies = new LRUCache<K, Copy<V>>({ max })
  const loading = new Map<K, Promise<V | null>>()

  const start = async (key: K, isRenewal = false): Promise<V | null> => {
    const askedAt = now()
    const value = await load(key, isRenewal)
    if (value === null) copies.delete(key)
    else copies.set(key, { value, askedAt })
    return value
  }
  const join = (key: K, isRenewal = false): Promise<V | null> => {
    const pending = loading.get(key) ?? start(key, isRenewal).finally(() => loading.delete(key))
    loading.set(key, pending)
    return pending
  }
  const peek = (key: K): V | undefined => {
    const copy = copies.get(key)
    if (copy === undefined) return undefined
    const age = now() - copy.askedAt
    if (age >= maxAgeMs) return undefined
    // What fails here is tried again when the copy is too old, and then whoever asks is told.
    if (age >= maxAgeMs / 2 && !loading.has(key)) join(key, true).catch(() => undefined)
    return copy.value
  }
  return {
    peek,
    get: async (key) => peek(key) ?? join(key),
    reload: (key) => start(key),
    knows: (key) => copies.has(key),
  }
}
