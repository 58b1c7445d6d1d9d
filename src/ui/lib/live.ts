import { useEffect, useRef, useState } from 'preact/hooks'
import { Failure, isOffline, send } from './api.ts'

/** A row of a live list: an item, or what was missed between two items. */
export type LiveRow<T> = { readonly key: number; readonly item: T } | { readonly key: number; readonly gap: Gap }
interface Gap {
  /** The number of missed items, or null if it is not known. */
  readonly missed: number | null
  readonly since: string
  readonly until: string
}
/** `opening`: there was no connection yet. `lost`: the browser tries to connect again. */
type Connection = 'opening' | 'open' | 'lost'
export interface Live<T> {
  /** The newest rows, the newest first. While the list is held, they stay as they are. */
  readonly rows: readonly LiveRow<T>[]
  /** The number of rows that came while the list was held. */
  readonly waiting: number
  readonly connection: Connection
  readonly failure: Failure | null
  /** Shows the rows that came while the list was held. */
  show(): void
  clear(): void
}

/** The most rows that are kept. */
const maxRows = 500
/** Milliseconds between two changes of the list, so that a burst does not keep the browser busy. */
const drawMs = 200

/** Reads a live stream of the API. The browser connects again by itself, and the stream goes on after the last item. */
export function useLive<T>(path: string, isHeld: boolean): Live<T> {
  const [state, setState] = useState<{ rows: readonly LiveRow<T>[]; waiting: number }>({ rows: [], waiting: 0 })
  const [connection, setConnection] = useState<Connection>('opening')
  const [failure, setFailure] = useState<Failure | null>(null)
  const incoming = useRef<LiveRow<T>[]>([])
  const held = useRef(isHeld)
  held.current = isHeld

  const show = () => {
    const added = incoming.current.splice(0).reverse()
    setState(({ rows }) => ({ rows: [...added, ...rows].slice(0, maxRows), waiting: 0 }))
  }
  useEffect(() => {
    if (!isHeld) show()
  }, [isHeld])
  useEffect(() => {
    incoming.current = []
    setState({ rows: [], waiting: 0 })
    setConnection('opening')
    const drawing = setInterval(() => {
      if (incoming.current.length === 0) return
      if (held.current) setState(({ rows }) => ({ rows, waiting: incoming.current.length }))
      else show()
    }, drawMs)
    const close = follow<T>(path, {
      add(row) {
        incoming.current.push(row)
        if (incoming.current.length > maxRows) incoming.current.shift()
      },
      setConnection,
      setFailure,
    })
    return () => {
      clearInterval(drawing)
      close()
    }
  }, [path])
  return {
    ...state,
    connection,
    failure,
    show,
    clear() {
      incoming.current = []
      setState({ rows: [], waiting: 0 })
    },
  }
}

let keys = 0
interface Follower<T> {
  add(row: LiveRow<T>): void
  setConnection(connection: Connection): void
  setFailure(failure: Failure | null): void
}
/** Opens the stream, and opens it again when the service has ended it. Returns a function that closes it. */
function follow<T>(path: string, { add, setConnection, setFailure }: Follower<T>): () => void {
  let source: EventSource
  let timer: ReturnType<typeof setTimeout> | undefined
  let last = ''
  const open = () => {
    source = new EventSource(last === '' ? path : `${path}${path.includes('?') ? '&' : '?'}after=${encodeURIComponent(last)}`)
    const parsed = <V>(event: MessageEvent<string>): V => {
      last = event.lastEventId === '' ? last : event.lastEventId
      return JSON.parse(event.data) as V
    }
    source.onopen = () => {
      setConnection('open')
      setFailure(null)
      isOffline.value = false
    }
    source.onmessage = (event: MessageEvent<string>) => add({ key: ++keys, item: parsed<T>(event) })
    source.addEventListener('gap', (event) => add({ key: ++keys, gap: parsed<Gap>(event) }))
    source.addEventListener('end', () => again(0)) // for instance because the token behind the session was replaced
    source.onerror = () => {
      setConnection('lost')
      if (source.readyState === EventSource.CLOSED) again(2_000)
      // The browser connects again by itself, and does not say why it must. A small request tells whether the service responds at all.
      // `send` itself notes a failure in `isOffline`, so there is nothing to do with the error here.
      else send('GET', '/v1/me').catch(() => undefined)
    }
  }
  /** The browser gives up after an error response. A request of our own then finds out why. */
  const again = (ms: number) => {
    source.close()
    clearTimeout(timer)
    timer = setTimeout(() => {
      send('GET', `${path}${path.includes('?') ? '&' : '?'}seconds=1`).then(open, (error: unknown) => {
        setFailure(error instanceof Failure ? error : null)
        again(5_000)
      })
    }, ms)
  }
  open()
  return () => {
    clearTimeout(timer)
    source.close()
  }
}
