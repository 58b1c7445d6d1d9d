import { useState } from 'preact/hooks'
import type { Job, Page } from '../../../api/responses.ts'
import { send, withQuery } from '../../lib/api.ts'
import { refreshMs, useAction, useQuery } from '../../lib/query.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { durationText, now, timeText } from '../../lib/time.ts'
import { useUrls } from '../../lib/webhooks.ts'
import { WebhookName } from '../../parts/deliveries-table.tsx'
import { FilterChoice } from '../../parts/filters.tsx'
import { Confirm } from '../../parts/form.tsx'
import type { IconName } from '../../parts/icon.tsx'
import { Empty, Loaded } from '../../parts/messages.tsx'
import { Curl, Pager, Screen } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Time } from '../../parts/text.tsx'

const states: Readonly<Record<Job['status'], { tone: 'good' | 'bad' | 'warn' | 'calm'; icon: IconName }>> = {
  running: { tone: 'warn', icon: 'retry' },
  completed: { tone: 'good', icon: 'check' },
  cancelled: { tone: 'calm', icon: 'skip' },
  failed: { tone: 'bad', icon: 'cross' },
}
const options = { '': 'All', running: 'Running', completed: 'Completed', cancelled: 'Cancelled', failed: 'Failed' }

/** The jobs that send deliveries again: how far each is, and a button that cancels it. */
export function Replays() {
  const get = (name: string) => params.value.get(name)
  const filter = { status: get('status'), webhook: get('webhook') }
  const request = withQuery('/v1/jobs', { ...filter, cursor: get('cursor'), limit: 50 })
  const query = useQuery<Page<Job>>(request, { everyMs: refreshMs })
  const [cancelling, setCancelling] = useState<Job | null>(null)
  const cancel = useAction(async (id: string) => {
    await send('DELETE', `/v1/jobs/${id}`)
    setCancelling(null)
    query.refresh()
  })
  const urlOfWebhook = useUrls()
  const isFiltered = filter.status !== null || filter.webhook !== null
  return (
    <Screen title="Replays">
      <div class="filters">
        <FilterChoice label="State" name="status" options={options} />
        {filter.webhook !== null && (
          <button type="button" onClick={() => setParams({ webhook: null })}>
            Show all webhooks
          </button>
        )}
      </div>
      <Loaded query={query}>
        {({ data, pagination }) =>
          data.length > 0 ? (
            <>
              <JobsTable jobs={data} urlOfWebhook={urlOfWebhook} cancel={setCancelling} />
              <Pager next={pagination?.next_cursor} />
            </>
          ) : (
            <Empty title={isFiltered ? 'No replay matches' : 'Nothing was replayed yet'}>
              <p>
                A replay sends again what a webhook missed, for example after its receiver was down. Start one on the screen of{' '}
                <a href={urlOf('/webhooks')}>a webhook</a>, or for a group of <a href={urlOf('/problems')}>problems</a>.
              </p>
            </Empty>
          )
        }
      </Loaded>
      <Curl request={request} />
      {cancelling !== null && (
        <Confirm
          title="Cancel this replay?"
          word="Cancel the replay"
          isDangerous
          action={cancel}
          confirm={() => cancel.run(cancelling.id)}
          close={() => setCancelling(null)}
        >
          <p>It sends nothing more. The deliveries that it has already replayed continue.</p>
        </Confirm>
      )}
    </Screen>
  )
}

const statusWords: Readonly<Record<string, string>> = { failed: 'failed', discarded: 'discarded', success: 'delivered' }
/** Returns which deliveries a job replays. */
const whatOf = ({ delivery_status: status, delivery_event: event, delivery_reason: reason, delivery_code: code }: Job): string =>
  [`${statusWords[status ?? ''] ?? 'failed and discarded'} deliveries`, event, reason ?? (code === null ? null : `status ${code}`)]
    .filter((part) => part !== null)
    .join(', ')

/** Shows how many of its deliveries a job has replayed, and how long it may still run. */
function Progress({ job }: { job: Job }) {
  const { replayed, skipped, expected, status } = job
  const done = replayed + skipped
  const elapsedMs = now.value - Date.parse(job.created_at)
  const isUnderWay = status === 'running' && expected !== null && done > 0 && done < expected
  return (
    <>
      {replayed.toLocaleString('en')}
      {expected !== null && ` of ${expected.toLocaleString('en')}`}
      {skipped > 0 && <span class="faint">, {skipped.toLocaleString('en')} without payload</span>}
      {status === 'running' && expected !== null && expected > 0 && (
        <>
          <br />
          <progress max={expected} value={Math.min(done, expected)} aria-label="Progress of the replay" />
        </>
      )}
      {isUnderWay && <span class="faint"> about {durationText((elapsedMs * (expected - done)) / done)} left</span>}
    </>
  )
}

function JobsTable({
  jobs,
  urlOfWebhook,
  cancel,
}: {
  jobs: readonly Job[]
  urlOfWebhook: (id: string) => string | null
  cancel: (job: Job) => void
}) {
  return (
    <Table caption="Replays, newest first" columns={['State', 'Webhook', 'Replayed', ['Events of', 'wide'], ['Started', 'broad']]}>
      {jobs.map((job) => (
        <tr key={job.id}>
          <td>
            <Status {...states[job.status]} word={job.status} />
            {job.reason !== null && (
              <>
                <br />
                <span class="faint">{job.reason.replaceAll('_', ' ')}</span>
              </>
            )}
            {job.status === 'running' && can('write:webhooks') && (
              <>
                <br />
                <button type="button" class="quiet" onClick={() => cancel(job)}>
                  Cancel
                </button>
              </>
            )}
          </td>
          <td class="long">
            <a class="main" href={urlOf(`/webhooks/${job.webhook_id}`)}>
              <WebhookName id={job.webhook_id} url={urlOfWebhook(job.webhook_id)} />
            </a>
            <br />
            <span class="faint break">{whatOf(job)}</span>
            <span class="narrow faint">
              <br />
              <Time at={job.created_at} />
            </span>
          </td>
          <td>
            <Progress job={job} />
          </td>
          <td class="wide">
            {timeText(job.since)} to {timeText(job.until)}
          </td>
          <td class="nowrap broad">
            <Time at={job.created_at} />
          </td>
        </tr>
      ))}
    </Table>
  )
}
