/** An item of a live stream. */
export interface TailItem {
  readonly id: string
  /** `message`, `gap` or `end`. */
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}
/** A reader of a live stream, which can connect again and go on after its last item. */
export interface LiveTail {
  readonly items: readonly TailItem[]
  /** The text that came, with comments. */
  readonly text: string
  /** Connects, and resolves when the stream has begun. @param url the URL of the stream */
  connect(url: string, headers: Readonly<Record<string, string>>): Promise<Response>
  /** Resolves when the connection has ended, on whichever side. */
  ended(): Promise<void>
  close(): void
}

export function createLiveTail(): LiveTail {
  const items: TailItem[] = []
  let text = ''
  let last = ''
  let reading: Promise<void> = Promise.resolve()
  let stop = new AbortController()
  const take = (block: string) => {
    const value = (name: string) =>
      block
        .split('\n')
        .find((line) => line.startsWith(`${name}: `))
        ?.slice(name.length + 2)
    last = value('id') ?? last
    const data = value('data')
    if (data !== undefined) items.push({ id: value('id') ?? '', type: value('event') ?? 'message', data: JSON.parse(data) })
  }
  return {
    items,
    get text() {
      return text
    },
    async connect(url, headers) {
      stop = new AbortController()
      const response = await fetch(url, {
        headers: { ...headers, ...(last === '' ? {} : { 'last-event-id': last }) },
        signal: stop.signal,
      })
      if (response.status !== 200 || response.body === null) return response
      const { body } = response
      reading = (async () => {
        let open = ''
        for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
          text += chunk
          const blocks = (open + chunk).split('\n\n')
          open = blocks.pop() ?? ''
          blocks.forEach(take)
        }
      })().catch(() => undefined) // the process was killed, or the test has closed the stream
      return response
    },
    ended: () => reading,
    close: () => stop.abort(),
  }
}
