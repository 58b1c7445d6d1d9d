import { useEffect, useState } from 'preact/hooks'
import type { LiveDelivery, LiveEvent } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { type LiveRow, useLive } from '../../lib/live.ts'
import { preferences } from '../../lib/preferences.ts'
import { params, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { durationText, now, timeText } from '../../lib/time.ts'
import { useUrls } from '../../lib/webhooks.ts'
import { WebhookName } from '../../parts/deliveries-table.tsx'
import { FilterChoice, FilterText } from '../../parts/filters.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Empty, Failed } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { DeliveryState, Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Breakable, Code, Id, Time } from '../../parts/text.tsx'

const what = { '': 'Deliveries', events: 'Events' }
const deliveryStates = {
  '': 'All',
  success: 'Delivered',
  retrying: 'To repeat',
  failed: 'Failed for good',
  discarded: 'Discarded',
  pending: 'Replayed',
}
const eventStates = { '': 'All', routed: 'Matched', unmatched: 'Unmatched', rejected: 'Rejected' }

/** The screen that shows every attempt, or every event, as soon as it is recorded. */
export function LiveScreen() {
  const get = (name: string) => params.value.get(name)
  const isEvents = get('what') === 'events'
  const filter = { status: get('status'), event: get('event') }
  const request = withQuery(isEvents ? '/v1/events/stream' : '/v1/deliveries/stream', {
    ...filter,
    webhook: isEvents ? null : get('webhook'),
  })
  const [isPaused, setPaused] = useState(false)
  const [isUsed, setUsed] = useState(false)
  const live = useLive<LiveDelivery | LiveEvent>(request, isPaused || isUsed)
  usePauseKey(() => setPaused((before) => !before))
  const { rows, waiting, connection, failure } = live
  return (
    <Screen
      title="Live"
      actions={
        <>
          <button type="button" onClick={() => setPaused(!isPaused)}>
            {isPaused ? 'Go on' : 'Pause'}
          </button>
          <button type="button" class="quiet" onClick={live.clear} disabled={rows.length === 0}>
            Clear
          </button>
        </>
      }
    >
      <div class="filters">
        {can('read:events') && <FilterChoice label="Watch" name="what" options={what} />}
        <FilterChoice label="State" name="status" options={isEvents ? eventStates : deliveryStates} />
        <FilterText label="Event" name="event" placeholder="order.*" />
      </div>
      {failure !== null && <Failed failure={failure} />}
      <div class="row between">
        {connection === 'open' ? (
          <Status tone="good" icon={isPaused ? 'pause' : 'check'} word={isPaused ? 'paused' : 'connected'} />
        ) : (
          <Status
            tone="warn"
            icon="warn"
            word={connection === 'opening' ? 'connecting' : 'connection lost: what happens meanwhile follows when it is back'}
          />
        )}
        {waiting > 0 && (
          <button type="button" onClick={live.show}>
            +{waiting} new
          </button>
        )}
      </div>
      <Announcement count={rows.length + waiting} />
      {rows.length === 0 ? (
        <Empty title={isEvents ? 'Waiting for an event' : 'Waiting for an attempt'}>
          <p>
            {filter.status !== null || filter.event !== null
              ? 'Nothing that matches the filter has happened since you opened this screen.'
              : 'Nothing has happened since you opened this screen.'}{' '}
            To see something, send a test event on the screen of <a href={urlOf('/webhooks')}>a webhook</a>, or post an event on the machine
            of Kolbak, in its folder:
          </p>
          <Code text={`npm run -s kolbak -- send order.created '{"order": 7}'`} label="the command" />
        </Empty>
      ) : (
        // While somebody points at the list or moves through it, its rows must not move.
        <div
          onPointerEnter={(event) => event.pointerType === 'mouse' && setUsed(true)}
          onPointerLeave={() => setUsed(false)}
          onFocusIn={() => setUsed(true)}
          onFocusOut={() => setUsed(false)}
        >
          {isEvents ? (
            <EventRows rows={rows as readonly LiveRow<LiveEvent>[]} />
          ) : (
            <DeliveryRows rows={rows as readonly LiveRow<LiveDelivery>[]} />
          )}
        </div>
      )}
      <Curl request={request} title="The same by the API, as server-sent events" />
    </Screen>
  )
}

/** Lets the space bar pause the list, unless a button or a field has the focus. */
function usePauseKey(toggle: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isFree = event.target instanceof HTMLElement && !event.target.matches('button, a, input, select, summary, textarea, dialog *')
      if (event.key !== ' ' || !isFree || !preferences.value.keys) return
      event.preventDefault()
      toggle()
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
}

/** Tells a screen reader every five seconds how many rows there are. */
function Announcement({ count }: { count: number }) {
  const [said, setSaid] = useState(count)
  const tick = Math.floor(now.value / 5_000)
  useEffect(() => setSaid(count), [tick])
  return (
    <p class="visually-hidden" role="status">
      {said === 1 ? '1 row' : `${said} rows`}
    </p>
  )
}

const GapRow = ({ row, columns }: { row: Extract<LiveRow<unknown>, { gap: unknown }>; columns: number }) => (
  <tr>
    <td colSpan={columns} class="soft">
      <Icon name="warn" /> {row.gap.missed === 1 ? '1 row is' : `${row.gap.missed ?? 'An unknown number of'} rows are`} missing here,
      between {timeText(row.gap.since)} and {timeText(row.gap.until)}.
    </td>
  </tr>
)

function DeliveryRows({ rows }: { rows: readonly LiveRow<LiveDelivery>[] }) {
  const urlOfWebhook = useUrls()
  return (
    <Table
      caption="Attempts, newest first"
      columns={['State', 'Event', ['Webhook', 'broad'], 'Result', ['Attempt', 'wide'], ['At', 'broad']]}
    >
      {rows.map((row) =>
        'gap' in row ? (
          <GapRow key={row.key} row={row} columns={6} />
        ) : (
          <tr key={row.key}>
            <td>
              <DeliveryState status={row.item.status} />
            </td>
            <td class="long">
              <a class="main" href={urlOf(`/deliveries/${row.item.id}`)}>
                <Breakable text={row.item.event} />
              </a>
              <br />
              <Id id={row.item.event_id} />
              <span class="narrow">
                <br />
                <WebhookName id={row.item.webhook_id} url={urlOfWebhook(row.item.webhook_id)} />
              </span>
            </td>
            <td class="long broad">
              <WebhookName id={row.item.webhook_id} url={urlOfWebhook(row.item.webhook_id)} />
            </td>
            <td class="nowrap">
              {row.item.response_code ?? row.item.reason?.replaceAll('_', ' ') ?? ''}
              {row.item.duration_ms !== null && <span class="faint"> {durationText(row.item.duration_ms)}</span>}
            </td>
            <td class="wide">{row.item.attempt}</td>
            <td class="nowrap broad">
              <Time at={row.item.at} isExact withMs />
            </td>
          </tr>
        ),
      )}
    </Table>
  )
}

function EventRows({ rows }: { rows: readonly LiveRow<LiveEvent>[] }) {
  return (
    <Table caption="Events, newest first" columns={['State', 'Event', 'Webhooks', ['At', 'broad']]}>
      {rows.map((row) =>
        'gap' in row ? (
          <GapRow key={row.key} row={row} columns={4} />
        ) : (
          <tr key={row.key}>
            <td>
              {row.item.status === 'routed' ? (
                <Status tone="good" icon="check" word="matched" />
              ) : (
                <Status
                  tone={row.item.status === 'rejected' ? 'bad' : 'calm'}
                  icon={row.item.status === 'rejected' ? 'cross' : 'skip'}
                  word={row.item.status}
                />
              )}
            </td>
            <td class="long">
              <a class="main" href={urlOf(`/events/${encodeURIComponent(row.item.id)}`)}>
                <Breakable text={row.item.event} />
              </a>
              <br />
              <Id id={row.item.id} />
            </td>
            <td>{row.item.webhook_count}</td>
            <td class="nowrap broad">
              <Time at={row.item.at} isExact withMs />
            </td>
          </tr>
        ),
      )}
    </Table>
  )
}
