import { useMemo, useState } from 'preact/hooks'
import type { Envelope, ReplayPreview as Preview, Webhook } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction, usePosted } from '../../lib/query.ts'
import { navigate } from '../../lib/router.ts'
import { isRange, ranges } from '../../lib/time.ts'
import { Choice, Confirm } from '../../parts/form.tsx'
import { Loaded } from '../../parts/messages.tsx'
import { canReplay, ReplayPreview, replayWord } from '../../parts/replay-preview.tsx'
import { Curl } from '../../parts/screen.tsx'

/** Returns the body of the request that replays what was accepted in a range up to now. */
const replayBody = (range: string, status: string) => ({
  since: new Date(Date.now() - ranges[isRange(range) ? range : '24h'] * 3_600_000).toISOString(),
  ...(status === '' ? {} : { status }),
})

/** Shows what a replay of the deliveries of a webhook would do, and starts it. */
export function ReplayMissed({ path, webhook, close }: { path: string; webhook: Webhook; close: () => void }) {
  const [range, setRange] = useState('24h')
  const [status, setStatus] = useState('')
  const body = useMemo(() => replayBody(range, status), [range, status])
  const preview = usePosted<Envelope<Preview>>(`${path}/replay`, { ...body, dry_run: true })
  const replay = useAction(async () => {
    await send('POST', `${path}/replay`, { body })
    navigate(`/replays?webhook=${webhook.id}`)
  })
  const data = preview.reply?.body.data
  return (
    <Confirm
      title="Replay what it missed"
      word={replayWord(data)}
      isReady={canReplay(data)}
      action={replay}
      confirm={() => replay.run()}
      close={close}
    >
      <Choice
        label="Events that were accepted"
        name="range"
        value={range}
        onChange={(event) => setRange(event.currentTarget.value)}
        options={{ '1h': 'in the last hour', '24h': 'in the last 24 hours', '7d': 'in the last 7 days', '30d': 'in the last 30 days' }}
      />
      <Choice
        label="Deliveries that are"
        name="status"
        value={status}
        onChange={(event) => setStatus(event.currentTarget.value)}
        options={{ '': 'failed or discarded', failed: 'failed', discarded: 'discarded', success: 'delivered already' }}
      />
      <Loaded query={preview}>{({ data: shown }) => <ReplayPreview preview={shown} />}</Loaded>
      {canReplay(data) && (
        <p>
          The events are sent under the same ids as before, to the present URL. The receiver can tell by the id what it already has. You can
          watch and cancel the replay.
        </p>
      )}
      <Curl method="POST" request={`${path}/replay`} body={body} />
    </Confirm>
  )
}
