import type { AuditedEvent } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { useTextLines } from '../../lib/query.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { isRange, sinceOf } from '../../lib/time.ts'
import { FilterChoice, FilterText } from '../../parts/filters.tsx'
import { Empty, Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Foreign, Id, Time } from '../../parts/text.tsx'
import { actorText, ValueText } from '../../parts/value-text.tsx'

const isEvent = (line: unknown): line is AuditedEvent => typeof line === 'object' && line !== null && 'event_id' in line

const kinds = [
  ...['WebhookCreated', 'WebhookChanged', 'WebhookActivated', 'WebhookDeactivated', 'WebhookSecretRotated', 'WebhookDeleted'],
  ...['KeyCreated', 'KeyChanged', 'KeyRotated', 'KeyDeleted', 'ClientIssued', 'ClientSecretRotated', 'ClientRevoked'],
  ...['TenantRegistered', 'TenantSettingsChanged', 'TenantSuspended', 'TenantResumed'],
]
/** Returns the type of an event in words: `WebhookSecretRotated` becomes "Webhook secret rotated". */
const kindText = (type: string): string => {
  const words = type.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return words.replace(/^Key\b/, 'API key')
}
const kindOptions = { '': 'Any', ...Object.fromEntries(kinds.map((kind) => [kind, kindText(kind)])) }

const pageSize = 100
/** Every change of the account: who did what, when, and by which request. */
export function Audit() {
  const get = (name: string) => params.value.get(name)
  const range = get('range')
  const filter = {
    since: sinceOf(isRange(range) ? range : '7d'),
    family: get('family'),
    type: get('type'),
    id: get('id'),
  }
  const request = withQuery('/v1/audit', filter)
  const query = useTextLines(request)
  const shownPages = Number(get('pages') ?? 1)
  const isFiltered = filter.family !== null || filter.type !== null || filter.id !== null
  return (
    <Screen title="Audit">
      <div class="filters">
        <FilterChoice
          label="Time"
          name="range"
          options={{ '': 'In the last 7 days', '1h': 'In the last hour', '24h': 'In the last 24 hours', '30d': 'In the last 30 days' }}
        />
        <FilterChoice
          label="Changes of"
          name="family"
          options={{ '': 'Everything', webhook: 'Webhooks', key: 'API keys', tenant: 'The account' }}
        />
        <FilterChoice label="Kind of change" name="type" options={kindOptions} />
        <FilterText label="Id of the webhook or key" name="id" />
      </div>
      <Loaded query={query}>
        {(lines) => {
          const events = lines.filter(isEvent).toReversed()
          const broken = lines.find((line) => typeof line === 'object' && line !== null && 'error' in line)
          if (events.length === 0)
            return (
              <Empty title={isFiltered ? 'No change matches' : 'Nothing was changed in this time'}>
                {isFiltered && (
                  <button type="button" onClick={() => setParams({ family: null, type: null, id: null })}>
                    Clear the filters
                  </button>
                )}
              </Empty>
            )
          return (
            <>
              {broken !== undefined && (
                <Note tone="warn">
                  <p>The list broke off, so later changes may be missing. Load the page again.</p>
                </Note>
              )}
              <p class="faint" role="status">
                {events.length} {events.length === 1 ? 'change' : 'changes'}, the latest first
              </p>
              <AuditTable events={events.slice(0, shownPages * pageSize)} />
              {events.length > shownPages * pageSize && (
                <button type="button" onClick={() => setParams({ pages: String(shownPages + 1) })}>
                  Show {Math.min(pageSize, events.length - shownPages * pageSize)} more
                </button>
              )}
            </>
          )
        }}
      </Loaded>
      <p>
        <a href="/ui/verify.html" download>
          Download the page that checks proofs without Kolbak
        </a>
      </p>
      <Curl request={request} title="Export these changes by the API, one JSON object a line" />
    </Screen>
  )
}

const AuditTable = ({ events }: { events: readonly AuditedEvent[] }) => (
  <Table caption="Changes, the latest first" columns={['Change', 'By', ['Values', 'broad'], 'Time']}>
    {events.map((event) => (
      <tr key={event.event_id}>
        <td class="long">
          <strong>{kindText(event.type)}</strong>
          {event.fault !== undefined && (
            <>
              {' '}
              <Status tone="bad" icon="warn" word={event.fault.replaceAll('_', ' ')} />
            </>
          )}
          <br />
          {event.family === 'webhook' ? (
            <a class="id" href={urlOf(`/webhooks/${event.id}?tab=history&revision=${event.revision}`)}>
              <code>{event.id}</code>
            </a>
          ) : (
            <Id id={event.id} />
          )}
        </td>
        <td class="long">
          <Foreign text={actorText(event.actor)} />
          {event.metadata?.reason !== null && event.metadata?.reason !== undefined && (
            <>
              <br />
              <span class="faint">
                <Foreign text={event.metadata.reason} />
              </span>
            </>
          )}
          {event.correlation_id !== null && (
            <>
              <br />
              <span class="faint wide">
                request <Id id={event.correlation_id} />
              </span>
            </>
          )}
        </td>
        <td class="long broad">
          {Object.entries(event.data)
            .filter(([name, value]) => name !== 'id' && name !== 'tenant' && value !== null)
            .map(([name, value]) => (
              <div key={name} class="break">
                <code>{name}</code> <ValueText value={value} />
              </div>
            ))}
        </td>
        <td class="nowrap">{event.time !== null && <Time at={event.time} />}</td>
      </tr>
    ))}
  </Table>
)
