import { type Query, refreshMs, useQuery, useTextLines } from '../../lib/query.ts'
import type { Envelope } from '../../lib/types.ts'
import { Loaded } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'

interface Readiness {
  readonly status: string
  readonly checks?: readonly { readonly name: string; readonly ok: boolean; readonly message?: string }[]
}

/** The state of the service itself: its parts, and the numbers that show whether it keeps up with the load. */
export function Operations() {
  const ready = useQuery<Envelope<Readiness>>('/health/ready', { everyMs: refreshMs })
  const metrics = useTextLines('/metrics', { everyMs: refreshMs })
  return (
    <Screen title="Operations">
      <Numbers metrics={metrics} />
      <section class="stack">
        <h2>Parts of the process that responded</h2>
        {ready.failure !== null && ready.failure.details.length > 0 ? (
          <Checks checks={ready.failure.details.map(({ path, message }) => ({ name: path, ok: false, message }))} />
        ) : (
          <Loaded query={ready}>{({ data }) => <Checks checks={data.checks ?? []} />}</Loaded>
        )}
      </section>
      <Curl request="/health/ready" />
      <Curl request="/metrics" title="All metrics, in the format of Prometheus" />
    </Screen>
  )
}

const Checks = ({ checks }: { checks: NonNullable<Readiness['checks']> }) => (
  <div class="table">
    <table class="diff">
      <caption class="visually-hidden">The parts of the service</caption>
      <thead>
        <tr>
          <th scope="col">State</th>
          <th scope="col">Part</th>
          <th scope="col">What it does</th>
        </tr>
      </thead>
      <tbody>
        {checks.map(({ name, ok, message }) => (
          <tr key={name}>
            <td>{ok ? <Status tone="good" icon="check" word="works" /> : <Status tone="bad" icon="cross" word="fails" />}</td>
            <td>{name}</td>
            <td class="long soft">{message}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
)

/** Returns the sum of the samples of a metric, or null if there is none. */
function sumOf(lines: readonly unknown[], metric: string, label = ''): number | null {
  let sum: number | null = null
  for (const line of lines) {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(String(line)) ?? []
    if (name === metric && labels.includes(label) && Number.isFinite(Number(value))) sum = (sum ?? 0) + Number(value)
  }
  return sum
}

function Numbers({ metrics }: { metrics: Query<readonly unknown[]> }) {
  return (
    <Loaded query={metrics}>
      {(lines) => {
        const tiles: readonly (readonly [string, number | null, string])[] = [
          ['Unread records', sumOf(lines, 'kolbak_records_unread'), 'of the bus, which wait for a dispatcher'],
          ['Attempts that succeeded', sumOf(lines, 'kolbak_attempts_total', 'DeliverySucceeded'), 'since the start of the processes'],
          ['Attempts to repeat', sumOf(lines, 'kolbak_attempts_total', 'DeliveryFailed'), 'since the start of the processes'],
          ['Given up', sumOf(lines, 'kolbak_attempts_total', 'DeliveryDeadLettered'), 'since the start of the processes'],
        ]
        return (
          <div class="tiles">
            {tiles.map(([name, value, what]) => (
              <div key={name} class="tile">
                <span>{name}</span>
                <strong>{value === null ? 'none' : value.toLocaleString('en')}</strong>
                <span>{what}</span>
              </div>
            ))}
          </div>
        )
      }}
    </Loaded>
  )
}
