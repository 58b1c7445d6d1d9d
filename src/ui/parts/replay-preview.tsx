import type { ReplayPreview as Preview } from '../../api/responses.ts'
import { Time } from './text.tsx'

const numberText = (count: number) => count.toLocaleString('en')
/** Returns the number of deliveries that a replay can send: `Replay 1,204`. */
export function replayWord(preview: Preview | undefined): string {
  const sendable = preview === undefined ? 0 : preview.count - preview.without_payload
  return sendable === 0 ? 'Replay' : `Replay ${numberText(sendable)}${preview?.is_complete === false ? ' and more' : ''}`
}
export const canReplay = (preview: Preview | undefined): boolean => preview !== undefined && preview.count > preview.without_payload

/** Says what a replay would send. */
export const ReplayPreview = ({ preview }: { preview: Preview }) =>
  preview.count === 0 ? (
    <p>There is nothing to replay.</p>
  ) : (
    <p>
      <strong>
        {preview.is_complete ? '' : 'More than '}
        {numberText(preview.count)} {preview.count === 1 ? 'delivery' : 'deliveries'}
      </strong>{' '}
      to {preview.webhooks === 1 ? 'one webhook' : `${numberText(preview.webhooks)} webhooks`}, accepted{' '}
      {preview.oldest !== null && <Time at={preview.oldest} isExact />}
      {preview.newest !== preview.oldest && preview.newest !== null && (
        <>
          {' '}
          to <Time at={preview.newest} isExact />
        </>
      )}
      .{preview.without_payload > 0 && ` ${numberText(preview.without_payload)} of them cannot be sent, because their payload has expired.`}
    </p>
  )
