import { LRUCache } from 'lru-cache'

/** A cache whose entries are at most `maxAgeMs` old, so that a hot path need not query the database for every request. */
interface RefreshingCache<K, V> {
  /** Returns the value if it is fresh. After half of `maxAgeMs`, the next value is loaded in the background. */
  peek(key: K): V | undefined
  /** Returns the fresh value, or loads it. Null means that no value exists, and is not cached. */
  get(key: K): Promise<V | null>
  /** Loads the value even if the cached one is fresh. */
  reload(key: K): Promise<V | null>
  /** Returns whether the cache has a value, fresh or not. */
  has(key: K): boolean
}

interface Entry<V> {
  value: V
  /** The time at which the load began, so that a value that took long to load counts as old. */
  loadedAt: number
}

/**
 * @param load its second parameter is true for a refresh in the background, which may be slow because no request waits for it
 * @param now monotonic milliseconds
 */
export function createRefreshingCache<K extends string, V extends object>(
  load: (key: K, isRefresh: boolean) => Promise<V | null>,
  { maxAgeMs = 1_000, max = 10_000, now = () => performance.now() }: { maxAgeMs?: number; max?: number; now?: () => number } = {},
): RefreshingCache<K, V> {
  const entries = new LRUCache<K, Entry<V>>({ max })
  const loading = new Map<K, Promise<V | null>>()

  const reload = async (key: K, isRefresh = false): Promise<V | null> => {
    const loadedAt = now()
    const value = await load(key, isRefresh)
    if (value === null) entries.delete(key)
    else entries.set(key, { value, loadedAt })
    return value
  }
  /** Joins a load that is in progress, or starts one. */
  const joinLoad = (key: K, isRefresh = false): Promise<V | null> => {
    const pending = loading.get(key) ?? reload(key, isRefresh).finally(() => loading.delete(key))
    loading.set(key, pending)
    return pending
  }
  const peek = (key: K): V | undefined => {
    const entry = entries.get(key)
    if (entry === undefined) return undefined
    const age = now() - entry.loadedAt
    if (age >= maxAgeMs) return undefined
    // A failed refresh is ignored, because the next `get` of a value that is too old loads again and reports the error.
    if (age >= maxAgeMs / 2 && !loading.has(key)) joinLoad(key, true).catch(() => undefined)
    return entry.value
  }
  return {
    peek,
    get: async (key) => peek(key) ?? joinLoad(key),
    reload: (key) => reload(key),
    has: (key) => entries.has(key),
  }
}
