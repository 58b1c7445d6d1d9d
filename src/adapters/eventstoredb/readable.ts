import { isDayStream, type StreamName } from '../../events/streams.ts'
import { pause } from '../../lib/retry.ts'
import { type ExpectedRevision, meets, StoreUnavailable } from '../../ports/event-store.ts'

/** The most milliseconds to wait until the event that caused a conflict can be read (at most 11 ms were measured in a real cluster). */
export const readableMs = 2_000

/**
 * Returns the revision that the stream has instead of the expected one, once a read shows it. The server checks an append against all
 * events that it has received, while reads show only those that are replicated and indexed. Without this wait, a caller that reads again
 * would not see the event that caused the conflict. Throws StoreUnavailable when the event cannot be read within 2 s.
 *
 * @param reported the revision that the server reported with the conflict
 * @param readLast reads the revision of the stream's last event, or -1 if there is none
 */
export async function readableRevision(
  stream: StreamName,
  expected: ExpectedRevision,
  reported: number,
  readLast: () => Promise<number>,
): Promise<number> {
  // "Expected 3, found 3" is a contradiction. The server has then read the two revisions at different moments.
  const isContradiction = expected !== 'any' && expected !== 'some' && meets(expected, reported)
  if (!isContradiction && reported < 0) return reported
  const end = performance.now() + readableMs
  for (let delayMs = 1; performance.now() < end; delayMs = Math.min(delayMs * 2, 20)) {
    const revision = await readLast()
    if (isContradiction ? !meets(expected, revision) : revision >= reported) return revision // mutation: conflict-before-readable
    await pause(delayMs * (0.5 + Math.random()))
  }
  // A read never returns an event of a day stream that is older than the age limit of the stream.
  if (isDayStream(stream)) return reported
  throw new StoreUnavailable(`stream ${stream}: revision ${reported} conflicts with what was expected, and cannot be read yet: try again`)
}
