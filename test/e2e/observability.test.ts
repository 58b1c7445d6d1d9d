import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parser } from '@prometheus-io/lezer-promql'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { parse } from 'yaml'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const root = join(import.meta.dirname, '..', '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}
interface Panel {
  readonly title: string
  readonly targets: readonly { readonly expr: string }[]
}
const rules = (parse(read('deploy/prometheus/kolbak.rules.yml')) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules)
const { panels } = JSON.parse(read('deploy/grafana/dashboards/kolbak.json')) as { panels: Panel[] }
/** The expressions of rules and panels. Grafana puts its interval into them before Prometheus reads them. */
const expressions = [...rules.map(({ expr }) => expr), ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))].map((expr) =>
  expr.replaceAll('$__rate_interval', '1m'),
)

/** Returns the metrics that an expression names, with the labels that it names for each. Throws if the grammar of Prometheus refuses the text. */
function metricsIn(expression: string): string[] {
  const metrics: string[] = []
  parser.parse(expression).iterate({
    enter(node) {
      if (node.type.isError) throw new Error(`${expression}: a fault at character ${node.from}`)
      if (node.name === 'VectorSelector') {
        const name = node.node.getChild('Identifier')
        if (name !== null) metrics.push(expression.slice(name.from, name.to))
      }
    },
  })
  return metrics
}

describe('what on-call sees', () => {
  const { service, receiver } = withService({ variables: { KOLBAK_METRICS_TOKEN: 'a-token-for-the-metrics' } })
  let api: Client
  const scrape = async () => {
    const response = await fetch(`${service.url}/metrics`, { headers: { authorization: 'Bearer a-token-for-the-metrics' } })
    expect(response.status).to.equal(200)
    return response.text()
  }
  /** Returns the value of a sample, such as `name` or `name{label="value"}`, or undefined. */
  const valueIn = (text: string, sample: string) => {
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `))
    return line === undefined ? undefined : Number(line.slice(sample.length + 1))
  }
  const expectSamples = (samples: Readonly<Record<string, number>>) =>
    waitFor(
      async () => {
        const text = await scrape()
        const seen = Object.fromEntries(Object.keys(samples).map((sample) => [sample, valueIn(text, sample)]))
        return JSON.stringify(seen) === JSON.stringify(samples) ? text : undefined
      },
      { what: `the samples ${JSON.stringify(samples)}` },
    )
  before(async () => {
    api = await clientOf(service.url)
  })

  it('counts the dead letters', async () => {
    // The first scrape comes after the dead letters, because a process keeps their number for half a minute on some engines.
    const event = `dead-${ulid()}`.toLowerCase()
    receiver.setResponse('/refusing', (_request, response) => response.writeHead(422).end())
    await api.post('/v1/webhooks', { callback_url: receiver.url('/refusing'), event })
    for (let i = 0; i < 3; i++) await api.post('/v1/events', { event, payload: {} })
    const { length } = await waitFor(
      async () => {
        const { data } = await api.get<{ data: { event: string }[] }>('/v1/dead-letters')
        return data.filter((delivery) => delivery.event === event).length === 3 ? data : undefined
      },
      { what: 'the dead letters' },
    )
    await expectSamples({ kolbak_dead_letters: length })
  })
  it('counts attempts in the words of the API, and measures how long the first attempts took', async () => {
    const event = `event-${ulid()}`.toLowerCase()
    receiver.setResponse('/good', (_request, response) => response.writeHead(204).end())
    receiver.setResponse('/busy', (_request, response) => response.writeHead(503).end())
    receiver.setResponse('/strict', (_request, response) => response.writeHead(422).end())
    const subscribe = (path: string, more: object = {}) =>
      api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event, ...more })
    const before = await scrape()
    const past = (sample: string) => valueIn(before, sample) ?? 0
    await subscribe('/good')
    await subscribe('/busy', { retry_delays: [600] })
    await subscribe('/strict')
    const inactive = await subscribe('/inactive')
    await api.patch(`/v1/webhooks/${inactive.id}`, { is_active: false })
    await api.post('/v1/events', { event, payload: {} })
    const text = await expectSamples({
      'kolbak_attempts_total{outcome="success"}': past('kolbak_attempts_total{outcome="success"}') + 1,
      'kolbak_attempts_total{outcome="retrying"}': past('kolbak_attempts_total{outcome="retrying"}') + 1,
      'kolbak_attempts_total{outcome="failed"}': past('kolbak_attempts_total{outcome="failed"}') + 1,
      'kolbak_failed_attempts_total{reason="http_503"}': past('kolbak_failed_attempts_total{reason="http_503"}') + 1,
      'kolbak_failed_attempts_total{reason="http_422"}': past('kolbak_failed_attempts_total{reason="http_422"}') + 1,
      kolbak_first_attempt_seconds_count: past('kolbak_first_attempt_seconds_count') + 3,
      kolbak_deliveries_retrying: past('kolbak_deliveries_retrying') + 1,
      kolbak_oldest_due_seconds: 0,
      kolbak_oldest_record_seconds: 0,
      kolbak_records_unread: 0,
      kolbak_webhooks_active: past('kolbak_webhooks_active') + 3,
      kolbak_webhooks_failing: past('kolbak_webhooks_failing') + 2,
      'kolbak_webhooks_deactivated{reason="requested"}': past('kolbak_webhooks_deactivated{reason="requested"}') + 1,
    })
    expect(valueIn(text, 'kolbak_partitions_owned')).to.equal(valueIn(text, 'kolbak_partitions'))
    expect(valueIn(text, 'kolbak_live_processes{role="dispatcher"}')).to.equal(1)
    expect(text).to.match(/^kolbak_build_info\{version="[^"]+",node="v\d+/m)
    expect(text).to.match(/^kolbak_pool_connections\{pool="reads",state="waiting"\} 0$/m)
  })
  it('has a rule for every fault, whose expression Prometheus can read', () => {
    expect(rules.length).to.be.greaterThan(10)
    for (const { alert, labels, annotations, for: duration = '0s' } of rules) {
      expect(alert).to.match(/^Kolbak[A-Z]\w+$/)
      expect(duration, alert).to.match(/^\d+[smh]$/)
      expect(labels.severity, alert).to.be.oneOf(['page', 'ticket'])
      expect(annotations.summary, alert).to.be.a('string')
    }
    for (const expression of expressions) expect(metricsIn(expression), expression).to.not.deep.equal([])
    expect(() => metricsIn('max(kolbak_records_unread')).to.throw('a fault')
    expect(() => metricsIn('rate(kolbak_records_unread[5m]) >> 1')).to.throw('a fault')
  })
  it('names no metric in a rule or a panel that /metrics does not have', async () => {
    const text = await scrape()
    const names = new Set(
      [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name, type]) => (type === 'histogram' ? [`${name}_bucket`] : [name])),
    )
    const missing = expressions.flatMap(metricsIn).filter((name) => name !== 'up' && !names.has(name))
    expect(missing).to.deep.equal([])
  })
  it('documents every metric of Kolbak and every alert', async () => {
    const page = read('docs/operations.md')
    const metrics = [...(await scrape()).matchAll(/^# TYPE (kolbak_\S+) /gm)].map(([, name]) => name!)
    expect(metrics.filter((name) => !new RegExp(`\`${name}[{\`]`).test(page))).to.deep.equal([])
    expect(rules.map(({ alert }) => alert).filter((alert) => !page.includes(`\`${alert}\``))).to.deep.equal([])
  })
})
