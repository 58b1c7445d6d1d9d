import { codeOf } from '../lib/errors.ts'
import { ApiError, problemOf } from './errors.ts'

/** The most streams of one process at a time. Each keeps at most 100 events in memory. */
const maxStreams = 4
/** Milliseconds for which a caller may stop reading. Then its stream ends, so that it does not keep the streams of others waiting. */
const stalledMs = 60_000
/** Milliseconds between two checks of the caller's credential. */
const checkMs = 1_000

/** The streams that run. One caller may have one, because a second one would only read the same. */
export interface AuditStreams {
  /** Throws stream_running. Returns a function that ends the caller's right to a stream. */
  begin(caller: string): () => void
}
export function createAuditStreams(): AuditStreams {
  const running = new Map<string, symbol>()
  return {
    begin(caller) {
      if (running.has(caller) || running.size >= maxStreams)
        throw new ApiError(
          'stream_running',
          running.has(caller)
            ? 'A stream of the audit log runs for this caller already: read it to its end first.'
            : 'Other callers stream the audit log: try again in a moment.',
          { headers: { 'retry-after': '1' } },
        )
      const stream = Symbol(caller)
      running.set(caller, stream)
      return () => {
        if (running.get(caller) === stream) running.delete(caller)
      }
    },
  }
}

/**
 * Yields the texts of a stream while the caller may read it. An error on the way becomes a last text, because the status was sent long before.
 * @param lastOf returns the last text, which says that the stream is complete or why it broke off
 */
export async function* guardedTexts(options: {
  texts: AsyncIterable<string>
  gone: AbortSignal
  stillAllowed(): Promise<void>
  end(): void
  lastOf(error: { code: string; message: string } | null): string
}): AsyncGenerator<string> {
  const { texts, gone, stillAllowed, end, lastOf } = options
  gone.addEventListener('abort', end, { once: true })
  let checkedAt = performance.now()
  try {
    for await (const text of texts) {
      if (gone.aborted) return
      if (performance.now() - checkedAt > checkMs) {
        await stillAllowed()
        checkedAt = performance.now()
      }
      let isStalled = false
      const stalled = setTimeout(() => {
        isStalled = true
        end()
      }, stalledMs).unref()
      yield text
      clearTimeout(stalled)
      if (isStalled) throw new ApiError('stream_running', 'The stream ended because it was not read for a minute.')
    }
    await stillAllowed()
    yield lastOf(null)
  } catch (error) {
    if (gone.aborted) return
    const { code, message } = problemOf(error)
    yield lastOf({ code: codeOf(error) === undefined ? 'internal_error' : code, message })
  } finally {
    end()
  }
}

const formula = /^[=+\-@\t\r]/
/** Returns a row of CSV (RFC 4180). A cell that a spreadsheet would take for a formula begins with an apostrophe. */
export const csvRow = (cells: readonly unknown[]): string =>
  `${cells
    .map((cell) => (cell === null || cell === undefined ? '' : typeof cell === 'object' ? JSON.stringify(cell) : String(cell)))
    .map((text) => (formula.test(text) ? `'${text}` : text))
    .map((text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
    .join(',')}\r\n`
