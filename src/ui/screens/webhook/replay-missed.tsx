import { send } from '../../lib/api.ts'
import { useAction } from '../../lib/query.ts'
import { navigate } from '../../lib/router.ts'
import { isRange, ranges } from '../../lib/time.ts'
import type { Webhook } from '../../lib/types.ts'
import { Choice, Dialog, DialogForm } from '../../parts/form.tsx'

/** Returns the body of the request that replays what was accepted in a range up to now. */
export const replayBody = (range: string, status: string) => ({
  since: new Date(Date.now() - ranges[isRange(range) ? range : '24h'] * 3_600_000).toISOString(),
  ...(status === '' ? {} : { status }),
})

/** Starts a job that replays the deliveries of a webhook. */
export function ReplayMissed({ path, webhook, close }: { path: string; webhook: Webhook; close: () => void }) {
  const replay = useAction(async ({ range = '24h', status = '' }: Record<string, string>) => {
    await send('POST', `${path}/replay`, { body: replayBody(range, status) })
    navigate(`/replays?webhook=${webhook.id}`)
  })
  return (
    <Dialog title="Replay what it missed" close={close}>
      <p>
        A job sends the deliveries again, under the same event ids, to the present URL. The receiver can tell by the id what it already has.
        You can cancel the job.
      </p>
      <DialogForm action={replay} word="Start the replay" close={close} working="Starting …">
        <Choice
          label="Events that were accepted"
          name="range"
          defaultValue="24h"
          options={{ '1h': 'in the last hour', '24h': 'in the last 24 hours', '7d': 'in the last 7 days', '30d': 'in the last 30 days' }}
        />
        <Choice
          label="Deliveries that are"
          name="status"
          options={{ '': 'failed or discarded', failed: 'failed', discarded: 'discarded', success: 'delivered already' }}
        />
      </DialogForm>
    </Dialog>
  )
}
