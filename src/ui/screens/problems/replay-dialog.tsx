import { useState } from 'preact/hooks'
import type { Envelope, ReplayPreview as Preview, StartedReplays } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction, usePosted } from '../../lib/query.ts'
import { navigate } from '../../lib/router.ts'
import { Confirm } from '../../parts/form.tsx'
import { Loaded, Note } from '../../parts/messages.tsx'
import { canReplay, ReplayPreview, replayWord } from '../../parts/replay-preview.tsx'
import { Curl } from '../../parts/screen.tsx'

/** The failed deliveries to replay. */
export interface ReplayFilter {
  readonly webhooks?: readonly string[]
  readonly event?: string
  readonly reason?: string
  readonly code?: number
  readonly since: string
}

const path = '/v1/replays'

/** Shows what a replay of all failed deliveries that match would do, and starts it. */
export function ReplayDialog({ filter, close }: { filter: ReplayFilter; close: () => void }) {
  const body = { ...filter, status: 'failed' }
  const preview = usePosted<Envelope<Preview>>(path, { ...body, dry_run: true })
  const [refused, setRefused] = useState<StartedReplays['skipped']>([])
  const replay = useAction(async () => {
    const { body: reply } = await send<Envelope<StartedReplays>>('POST', path, { body })
    if (reply.data.jobs.length > 0) navigate('/replays')
    else setRefused(reply.data.skipped)
  })
  const data = preview.reply?.body.data
  return (
    <Confirm
      title="Replay the failed deliveries?"
      word={replayWord(data)}
      isReady={canReplay(data)}
      action={replay}
      confirm={() => replay.run()}
      close={close}
    >
      <Loaded query={preview}>{({ data: shown }) => <ReplayPreview preview={shown} />}</Loaded>
      {canReplay(data) && (
        <>
          <p>
            The receivers get the same event ids again, at their present URLs and signed with their present secrets. You can watch and
            cancel the replay.
          </p>
          <Note>
            <p>Mend the cause of the failures first. Otherwise the replay fails too.</p>
          </Note>
        </>
      )}
      {refused.length > 0 && (
        <Note tone="warn">
          <p>
            {refused.some(({ reason }) => reason === 'replay_running')
              ? 'Nothing was started, because a replay of the webhook runs already.'
              : 'Nothing was started, because the webhook is inactive. Activate it first.'}
          </p>
        </Note>
      )}
      <Curl method="POST" request={path} body={body} />
    </Confirm>
  )
}
