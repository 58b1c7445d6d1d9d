import { useEffect, useRef, useState } from 'preact/hooks'
import type { Envelope, OperationsReport as Report } from '../../../api/responses.ts'
import { refreshMs, useQuery } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { durationText } from '../../lib/time.ts'
import { Loaded } from '../../parts/messages.tsx'
import { Curl, Facts, Screen } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Code, Foreign, Id, Time } from '../../parts/text.tsx'
import { Engines, Storage } from './storage.tsx'

/** The ages from which the alerts of docs/operations.md speak of a fault, in seconds. */
const faultyFrom = { record: 60, retry: 120, projection: 30 } as const

/** The state of the whole service: what waits, what fails, and which process does what. */
export function Operations() {
  const query = useQuery<Envelope<Report>>('/v1/operations', { everyMs: refreshMs })
  const rates = useRates(query.reply?.body.data ?? null)
  return (
    <Screen title="Operations">
      <Loaded query={query}>
        {({ data }) => (
          <>
            <Numbers report={data} rates={rates} />
            <Quarantined report={data} />
            <Waiting report={data} />
            <Projections report={data} />
            <Processes report={data} />
            <Checks checks={data.checks.filter(({ name }) => !name.startsWith('projection '))} />
            <Storage report={data} />
            <Engines report={data} />
          </>
        )}
      </Loaded>
      <Curl request="/v1/operations" />
      <Curl request="/metrics" title="All metrics, in the format of Prometheus" />
    </Screen>
  )
}

interface Rates {
  readonly produced: number
  readonly done: number
}
/** Returns how many records per second are stored and done, from two reports. Returns null before the second one. */
function useRates(report: Report | null): Rates | null {
  const before = useRef<{ readonly at: number; readonly produced: number; readonly done: number } | null>(null)
  const [rates, setRates] = useState<Rates | null>(null)
  useEffect(() => {
    if (report === null) return
    const { produced, done } = report.bus
    const now = { at: performance.now(), produced, done }
    const last = before.current
    before.current = now
    if (last === null || now.at - last.at < 1_000) return
    const perSecond = (difference: number) => Math.max(0, difference) / ((now.at - last.at) / 1_000)
    setRates({ produced: perSecond(produced - last.produced), done: perSecond(done - last.done) })
  }, [report])
  return rates
}

interface Tile {
  readonly name: string
  readonly value: string
  readonly what: string
  readonly isFaulty?: boolean
  readonly screen?: string
}
const Tiles = ({ tiles }: { tiles: readonly Tile[] }) => (
  <div class="tiles">
    {tiles.map(({ name, value, what, isFaulty = false, screen }) => (
      <div key={name} class="tile">
        <span>{screen === undefined ? name : <a href={urlOf(screen)}>{name}</a>}</span>
        <strong>{isFaulty ? <Status tone="bad" icon="warn" word={value} /> : value}</strong>
        <span>{what}</span>
      </div>
    ))}
  </div>
)
const number = (value: number) => (value >= 100_000 ? '100,000 or more' : value.toLocaleString('en'))
const age = (seconds: number) => durationText(seconds * 1_000)

function Numbers({ report, rates }: { report: Report; rates: Rates | null }) {
  const { bus, schedule, dead_letters, webhooks } = report
  return (
    <Tiles
      tiles={[
        {
          name: 'Unread records',
          value: number(bus.unread),
          what: bus.unread === 0 ? 'every message is routed' : `the oldest has waited for ${age(bus.oldest_record_seconds)}`,
          isFaulty: bus.oldest_record_seconds > faultyFrom.record,
        },
        { name: 'Throughput', value: rates === null ? '…' : `${rates.done.toFixed(1)}/s`, what: throughputText(bus.unread, rates) },
        {
          name: 'Retries',
          value: number(schedule.retrying),
          what: schedule.oldest_due_seconds < 1 ? 'none is late' : `the oldest is ${age(schedule.oldest_due_seconds)} late`,
          isFaulty: schedule.oldest_due_seconds > faultyFrom.retry,
        },
        { name: 'Dead letters', value: number(dead_letters), what: 'in all accounts, not replayed', screen: '/problems' },
        {
          name: 'Failing webhooks',
          value: number(webhooks.failing),
          what: `of ${number(webhooks.active)} active ones`,
          screen: '/webhooks',
        },
      ]}
    />
  )
}
function throughputText(unread: number, rates: Rates | null): string {
  if (rates === null) return 'measured from two reads'
  const stored = `${rates.produced.toFixed(1)} records stored per second`
  if (unread === 0) return stored
  const gained = rates.done - rates.produced
  return gained > 0.1 ? `${stored}; caught up in ${age(unread / gained)}` : `${stored}; not catching up`
}

function Quarantined({ report: { quarantined_streams } }: { report: Report }) {
  if (quarantined_streams.length === 0) return null
  return (
    <section class="stack">
      <h2>Quarantined streams</h2>
      <p>
        A projection could not process an event of these streams. Their later events wait, and all other streams go on. Remove the cause,
        and run the command in the environment of the service.
      </p>
      {quarantined_streams.map(({ projection, stream, revision, error, since }) => (
        <div key={`${projection} ${stream}`} class="stack">
          <p>
            <strong>{projection}</strong>, revision {revision} of <Id id={stream} />, <Time at={since} />: <Foreign text={error} />
          </p>
          <Code text={`npm run -s operate -- retry ${projection} ${stream}`} label={`the command that resumes ${stream}`} />
        </div>
      ))}
    </section>
  )
}

function Waiting({ report: { schedule, bus, running_jobs } }: { report: Report }) {
  const behind = bus.partitions.filter(({ unread }) => unread > 0)
  return (
    <section class="stack">
      <h2>What waits</h2>
      <Facts
        facts={[
          ['Parked, for a slot', number(schedule.parked.slot)],
          ['Parked, account suspended', number(schedule.parked.tenant_suspended)],
          [
            'Partitions of the bus',
            behind.length === 0
              ? `${bus.partitions.length}, none has unread records`
              : behind.map(({ partition, unread }) => `${partition}: ${number(unread)} unread`).join(', '),
          ],
          ['Replays', running_jobs === 0 ? 'none is running' : <a href={urlOf('/replays')}>{running_jobs} running</a>],
        ]}
      />
      {schedule.most_parked.length > 0 && (
        <Table caption="Webhooks with most parked deliveries" columns={['Webhook', 'Account', 'Parked']}>
          {schedule.most_parked.map(({ tenant_id, webhook_id, count }) => (
            <tr key={webhook_id}>
              <td class="long">
                <Id id={webhook_id} />
              </td>
              <td class="long">
                <a class="main" href={urlOf(`/tenants/${tenant_id}`)}>
                  <Id id={tenant_id} />
                </a>
              </td>
              <td>{number(count)}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  )
}

const Projections = ({ report: { projections } }: { report: Report }) => (
  <section class="stack">
    <h2>Projections</h2>
    <Table caption="The builds of the projections" columns={['State', 'Projection', 'Behind', ['Quarantined', 'wide'], ['Saved', 'broad']]}>
      {projections.map(({ name, build, version, is_live, state, error, lag_seconds, quarantined, updated_at }) => (
        <tr key={`${name} ${build}`}>
          <td>
            {state === 'failed' ? (
              <Status tone="bad" icon="cross" word={`fails: ${error ?? ''}`} />
            ) : !is_live ? (
              <Status tone="warn" icon="retry" word="is being built" />
            ) : (
              <Status tone="good" icon="check" word={state === 'running' ? 'runs' : 'runs elsewhere'} />
            )}
          </td>
          <td class="long">
            {name}{' '}
            <span class="faint">
              build {build}, version {version}
            </span>
          </td>
          <td class="nowrap">
            {lag_seconds === null ? (
              ''
            ) : lag_seconds > faultyFrom.projection ? (
              <Status tone="bad" icon="warn" word={age(lag_seconds)} />
            ) : (
              age(lag_seconds)
            )}
          </td>
          <td class="wide">{quarantined}</td>
          <td class="nowrap broad">
            <Time at={updated_at} />
          </td>
        </tr>
      ))}
    </Table>
  </section>
)

function Processes({ report: { processes, leases, version } }: { report: Report }) {
  return (
    <section class="stack">
      <h2>Processes</h2>
      <p class="soft">The process that responded has version {version}.</p>
      <Table
        caption="The live processes"
        columns={['Process', 'Roles', ['Leases', 'broad'], ['Started', 'wide'], ['Last heartbeat', 'wide']]}
      >
        {processes.map(({ id, roles, started_at, seen_at }) => (
          <tr key={id}>
            <td class="long">
              <Id id={id} />
            </td>
            <td>{roles.join(', ')}</td>
            <td class="long broad">{leaseText(leases.filter(({ owner }) => owner === id).map(({ name }) => name))}</td>
            <td class="nowrap wide">
              <Time at={started_at} />
            </td>
            <td class="nowrap wide">
              <Time at={seen_at} />
            </td>
          </tr>
        ))}
      </Table>
    </section>
  )
}

/** Returns how many partitions and projections the names of leases stand for, and the other leases by name. */
function leaseText(names: readonly string[]): string {
  const counted = ([count, word]: readonly [number, string]) => (count === 0 ? [] : [`${count} ${word}${count === 1 ? '' : 's'}`])
  const countOf = (prefix: string) => names.filter((name) => name.startsWith(prefix)).length
  return [
    ...counted([countOf('bus/'), 'partition']),
    ...counted([countOf('projection/'), 'projection']),
    ...names.filter((name) => !/^(bus|projection)\//.test(name)),
  ].join(', ')
}

const Checks = ({ checks }: Pick<Report, 'checks'>) => (
  <section class="stack">
    <h2>Parts of the process that responded</h2>
    <Table caption="The parts of the process" columns={['State', 'Part', 'What it does']}>
      {checks.map(({ name, ok, message }) => (
        <tr key={name}>
          <td>{ok ? <Status tone="good" icon="check" word="works" /> : <Status tone="bad" icon="cross" word="fails" />}</td>
          <td>{name}</td>
          <td class="long soft">{message}</td>
        </tr>
      ))}
    </Table>
  </section>
)
