import type { AuditedEvent } from '../../../api/responses.ts'
import { withQuery } from '../../lib/api.ts'
import { useTextLines } from '../../lib/query.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { isRange, sinceOf } from '../../lib/time.ts'
import { useUrls } from '../../lib/webhooks.ts'
import { FilterChoice, FilterText } from '../../parts/filters.tsx'
import { Empty, Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Breakable, Foreign, Id, Time } from '../../parts/text.tsx'
import { actorText, ValueChange, ValueText } from '../../parts/value-text.tsx'

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
          const oldestFirst = lines.filter(isEvent)
          const events = oldestFirst.toReversed()
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
              <AuditTable events={events.slice(0, shownPages * pageSize)} values={valuesOf(oldestFirst)} />
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

/** A field of an event. `from` is absent if the value before it is not known. */
interface ShownValue {
  readonly name: string
  readonly from?: unknown
  readonly to: unknown
}
/** The events that say the whole value of each field that they name. Only between such events can former values be looked up. */
const hasValues = /(?:Created|Registered|Changed)$/

/** Returns the values of each event, with the former values that earlier events in the list say. @param events oldest first */
function valuesOf(events: readonly AuditedEvent[]): ReadonlyMap<AuditedEvent, readonly ShownValue[]> {
  const former = new Map<string, Map<string, unknown>>()
  const values = new Map<AuditedEvent, readonly ShownValue[]>()
  for (const event of events) {
    const resource = `${event.family} ${event.id}`
    const formerValues = former.get(resource) ?? new Map<string, unknown>()
    const isChange = event.type.endsWith('Changed')
    const fields = Object.entries(event.data).filter(([name, value]) => name !== 'id' && name !== 'tenant' && (isChange || value !== null))
    values.set(
      event,
      fields.map(([name, to]) => ({ name, to, ...(isChange && formerValues.has(name) ? { from: formerValues.get(name) } : {}) })),
    )
    if (event.fault !== undefined) formerValues.clear()
    else if (hasValues.test(event.type)) for (const [name, value] of Object.entries(event.data)) formerValues.set(name, value)
    former.set(resource, formerValues)
  }
  return values
}

const Values = ({ values }: { values: readonly ShownValue[] }) =>
  values.map(({ name, to, ...before }) => (
    <div key={name} class="break">
      <code>{name}</code> {'from' in before ? <ValueChange from={before.from} to={to} /> : <ValueText value={to} />}
    </div>
  ))

/** Shows the resource of a change. A webhook has a link to its revision, and its present URL if it still exists. */
const Resource = ({ event, url }: { event: AuditedEvent; url: string | null }) =>
  event.family === 'webhook' ? (
    <>
      {url !== null && (
        <>
          <Breakable text={url.replace(/^https?:\/\//, '')} />
          <br />
        </>
      )}
      <a class="id" href={urlOf(`/webhooks/${event.id}?tab=history&revision=${event.revision}`)}>
        <code>{event.id}</code>
      </a>
    </>
  ) : (
    <Id id={event.id} />
  )

/** Shows the time of a change, and how long ago it was. */
const Moment = ({ at }: { at: string | null }) =>
  at === null ? null : (
    <>
      <Time at={at} isExact />
      <br />
      <span class="faint">
        <Time at={at} />
      </span>
    </>
  )

interface AuditTableProps {
  readonly events: readonly AuditedEvent[]
  readonly values: ReadonlyMap<AuditedEvent, readonly ShownValue[]>
}
function AuditTable({ events, values }: AuditTableProps) {
  const urlOfWebhook = useUrls()
  return (
    <Table caption="Changes, the latest first" columns={['Change', 'By', ['Values', 'broad'], ['Time', 'broad']]}>
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
            <Resource event={event} url={urlOfWebhook(event.id)} />
            <div class="narrow">
              <Values values={values.get(event) ?? []} />
            </div>
          </td>
          <td class="long">
            <Author event={event} />
            <div class="narrow">
              <Moment at={event.time} />
            </div>
          </td>
          <td class="long broad">
            <Values values={values.get(event) ?? []} />
          </td>
          <td class="nowrap broad">
            <Moment at={event.time} />
          </td>
        </tr>
      ))}
    </Table>
  )
}

/** Shows who made a change, why, and by which request. */
const Author = ({ event }: { event: AuditedEvent }) => (
  <>
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
  </>
)
