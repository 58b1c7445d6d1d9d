import { useEffect, useState } from 'preact/hooks'
import type { Page } from '../../api/responses.ts'
import { changedAt, Failure, isOffline, isSignedIn, type Reply, send, withQuery } from './api.ts'

/** The state of a read of the API. The former data stays while a new read is under way. */
export interface Query<T> {
  readonly reply: Reply<T> | null
  readonly failure: Failure | null
  readonly isLoading: boolean
  refresh(): void
}

/** The latest replies by path, so that a screen that was visited shows its data at once while it reads them again. */
const replies = new Map<string, { readonly reply: Reply<unknown>; readonly readAt: number }>()
const maxReplies = 100
/** A reply is used by all parts of a screen for this time (ms), unless something was changed since then. */
const freshMs = 2_000
const replyOf = <T>(path: string): Reply<T> | null => (replies.get(path)?.reply as Reply<T> | undefined) ?? null
function isFresh(path: string): boolean {
  const readAt = replies.get(path)?.readAt ?? Number.NEGATIVE_INFINITY
  return readAt > changedAt && performance.now() - readAt < freshMs
}
function remember(path: string, reply: Reply<unknown>, readAt: number): void {
  replies.delete(path)
  replies.set(path, { reply, readAt })
  const [oldest] = replies.keys()
  if (replies.size > maxReplies && oldest !== undefined) replies.delete(oldest)
}
/** Forgets all replies, when another person may sign in. */
export const forgetReplies = (): void => replies.clear()

/** The smallest time between two automatic reads, in milliseconds. */
export const refreshMs = 5_000

interface Options {
  /** Reads again after this time, while the page is visible. */
  readonly everyMs?: number | undefined
}
/** Reads a path of the API, and reads it again when the path changes. A null path reads nothing. */
export const useQuery = <T>(path: string | null, options: Options = {}): Query<T> =>
  useLoad<T>(path, (signal) => send<T>('GET', path ?? '', { signal }), options)

/** Reads all pages of a list that is paged by offset. */
export const useAllPages = <T>(path: string | null, options: Options = {}): Query<readonly T[]> =>
  useLoad<readonly T[]>(
    path === null ? null : `all of ${path}`,
    async (signal) => {
      const rows: T[] = []
      for (;;) {
        const { body, ...reply } = await send<Page<T>>('GET', withQuery(path ?? '', { limit: 100, offset: rows.length }), { signal })
        rows.push(...body.data)
        if (body.data.length === 0 || rows.length >= (body.pagination?.total ?? 0)) return { ...reply, body: rows }
      }
    },
    options,
  )

/** The most pages of 100 rows that are searched for a text, and the most rows that are shown of them. */
const searched = { pages: 10, rows: 20 }
/** Searches the latest rows of a list that is paged by cursor. @param text identifies the search */
export const useMatches = <T>(path: string | null, text: string, isMatch: (row: T) => boolean): Query<readonly T[]> =>
  useLoad<readonly T[]>(
    path === null ? null : `search of ${path} ${text}`,
    async (signal) => {
      const rows: T[] = []
      let cursor: string | null | undefined = null
      for (let page = 0; ; page++) {
        const { body, ...reply }: Reply<Page<T>> = await send<Page<T>>('GET', withQuery(path ?? '', { limit: 100, cursor }), { signal })
        rows.push(...body.data.filter(isMatch))
        cursor = body.pagination?.next_cursor
        if (cursor === null || cursor === undefined || page + 1 >= searched.pages || rows.length >= searched.rows)
          return { ...reply, body: rows.slice(0, searched.rows) }
      }
    },
    {},
  )

/** Reads lines of text. A line of JSON becomes its value, and any other line stays a text. */
export const useTextLines = (path: string, options: Options = {}): Query<readonly unknown[]> =>
  useLoad<readonly unknown[]>(
    path,
    async (signal) => {
      const reply = await send('GET', path, { signal })
      const lines = reply.text.split('\n').filter((line) => line !== '')
      return { ...reply, body: lines.map((line) => (line.startsWith('{') ? JSON.parse(line) : line)) }
    },
    options,
  )

/** Posts a body that changes nothing, such as a dry run, and reads the response. */
export const usePosted = <T>(path: string, body: unknown): Query<T> =>
  useLoad<T>(`POST ${path} ${JSON.stringify(body)}`, (signal) => send<T>('POST', path, { body, signal }), {})

/** Whether a read that failed may succeed a moment later without any change by a person. */
const isTemporary = ({ status, code }: Failure): boolean => code === 'no_response' || status >= 500

/**
 * Loads a path with `load`, and loads it again when the path changes. A null path loads nothing. While the service fails or does not respond, the path is
 * loaded again every 5 s, and at once when the service responds again.
 */
function useLoad<T>(path: string | null, load: (signal: AbortSignal) => Promise<Reply<T>>, { everyMs }: Options): Query<T> {
  const [state, setState] = useState<{ path: string | null; reply: Reply<T> | null; failure: Failure | null; isLoading: boolean }>({
    path,
    reply: null,
    failure: null,
    isLoading: path !== null,
  })
  const [round, setRound] = useState(0)
  useEffect(() => {
    if (path === null) return
    const ended = new AbortController()
    const isUsable = round === 0 && isFresh(path)
    let timer: ReturnType<typeof setTimeout> | undefined
    let hasNoResponse = false
    const read = async () => {
      clearTimeout(timer)
      hasNoResponse = false
      let repeatMs = everyMs
      try {
        const readAt = performance.now()
        const reply = await load(ended.signal)
        remember(path, reply, readAt)
        setState({ path, reply, failure: null, isLoading: false })
      } catch (error) {
        if (ended.signal.aborted) return
        const failure = error instanceof Failure ? error : unexpected(error)
        hasNoResponse = failure.code === 'no_response'
        if (isTemporary(failure)) repeatMs = Math.max(everyMs ?? refreshMs, (failure.retryAfter ?? 0) * 1_000)
        setState((before) => ({ path, reply: before.path === path ? before.reply : null, failure, isLoading: false }))
      }
      repeat(repeatMs)
    }
    const repeat = (ms: number | undefined) => {
      if (ms !== undefined && !ended.signal.aborted && isSignedIn.value !== false) timer = setTimeout(readIfVisible, ms)
    }
    const readIfVisible = () => {
      if (document.hidden) document.addEventListener('visibilitychange', readIfVisible, { once: true })
      else read()
    }
    setState((before) => ({
      path,
      reply: replyOf<T>(path) ?? (before.path === path ? before.reply : null),
      failure: null,
      isLoading: !isUsable,
    }))
    if (isUsable) repeat(everyMs)
    else read()
    const unsubscribe = isOffline.subscribe((isDown) => {
      if (!isDown && hasNoResponse) read()
    })
    return () => {
      unsubscribe()
      ended.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', readIfVisible)
    }
  }, [path, everyMs, round])
  const isCurrent = state.path === path
  return {
    reply: isCurrent ? state.reply : path === null ? null : replyOf<T>(path),
    failure: isCurrent ? state.failure : null,
    isLoading: path !== null && (!isCurrent || state.isLoading),
    refresh: () => setRound((before) => before + 1),
  }
}

const unexpected = (error: unknown) =>
  new Failure(error instanceof Error ? error.message : 'Something went wrong in the dashboard.', {
    ...{ status: 0, code: 'dashboard_failed', details: [], requestId: '', retryAfter: null },
  })

/** A change that a person starts: its state, and the function that starts it. */
export interface Action<A extends readonly unknown[]> {
  readonly isRunning: boolean
  readonly failure: Failure | null
  run(...args: A): Promise<boolean>
  reset(): void
}
/** Wraps a function that sends changes. `run` resolves with whether it succeeded. */
export function useAction<A extends readonly unknown[]>(work: (...args: A) => Promise<void>): Action<A> {
  const [state, setState] = useState<{ isRunning: boolean; failure: Failure | null }>({ isRunning: false, failure: null })
  return {
    ...state,
    reset: () => setState({ isRunning: false, failure: null }),
    async run(...args) {
      setState({ isRunning: true, failure: null })
      try {
        await work(...args)
        setState({ isRunning: false, failure: null })
        return true
      } catch (error) {
        setState({ isRunning: false, failure: error instanceof Failure ? error : unexpected(error) })
        return false
      }
    },
  }
}
