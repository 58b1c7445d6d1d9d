import { pause } from '../lib/retry.ts'
import { CommandError } from './errors.ts'
import { type Query, type Session, searchOf } from './session.ts'
import type { Row } from './text.ts'

/** Milliseconds after which a broken connection is opened again. */
const againMs = 1_000

interface ServerSentEvent {
  readonly type: string
  readonly id: string
  readonly data: string
}

/**
 * Prints the items of a live stream, one per line, until the process is stopped or the stream ends as the query says. A broken connection is opened
 * again, and the stream goes on after the last item.
 */
export async function tail(session: Session, path: string, query: Query, lineOf: (item: Row) => string): Promise<null> {
  let last = ''
  let hasBegun = false
  const startedAt = performance.now()
  const seconds = query.seconds === undefined ? Number.POSITIVE_INFINITY : Number(query.seconds)
  for (;;) {
    const secondsLeft = seconds - (performance.now() - startedAt) / 1_000
    if (secondsLeft <= 0) return null
    try {
      const search = searchOf({
        ...query,
        ...(last === '' ? {} : { after: last }),
        ...(Number.isFinite(secondsLeft) ? { seconds: Math.ceil(secondsLeft) } : {}),
      })
      const response = await session.open(path + search)
      hasBegun = true
      for await (const event of eventsOf(response)) {
        if (event.id !== '') last = event.id
        printItem(session, event, lineOf)
      }
    } catch (error) {
      const isLost = !(error instanceof CommandError) || error.envelope === undefined
      if (!hasBegun || !isLost) throw error
      console.error('kolbak: the connection is lost. It is opened again.')
    }
    if (seconds - (performance.now() - startedAt) / 1_000 > 0) await pause(againMs)
  }
}

function printItem({ json }: Session, { type, data }: ServerSentEvent, lineOf: (item: Row) => string): void {
  if (data === '') return
  const item = JSON.parse(data) as Row
  if (type === 'end') throw new CommandError(String(item.message), { envelope: { data: null, error: item, pagination: null } })
  if (json) console.log(type === 'message' ? data : JSON.stringify({ [type]: item }))
  else if (type === 'message') console.log(lineOf(item))
  else if (type === 'gap') console.log(`! missed ${item.missed ?? 'an unknown number of'} items between ${item.since} and ${item.until}`)
}

/** Yields the server-sent events of a response. */
async function* eventsOf(response: Response): AsyncGenerator<ServerSentEvent> {
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      const value = (name: string) => fields.find((field) => field.startsWith(`${name}: `))?.slice(name.length + 2)
      yield { type: value('event') ?? 'message', id: value('id') ?? '', data: value('data') ?? '' }
    }
  }
}
