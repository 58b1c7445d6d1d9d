import { existsSync, readFileSync } from 'node:fs'
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
interface Compose {
  readonly services: Readonly<
    Record<
      string,
      {
        readonly profiles?: readonly string[]
        readonly volumes?: readonly string[]
        readonly configs?: readonly { readonly source: string; readonly target: string }[]
      }
    >
  >
  readonly volumes: object
  readonly configs: object
}
interface PrometheusConfig {
  readonly rule_files: readonly string[]
  readonly scrape_configs: readonly {
    readonly authorization: { readonly credentials_file: string }
    readonly dns_sd_configs: readonly { readonly names: readonly string[] }[]
  }[]
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

/** Returns the metrics that an expression names, with the labels by which it selects. Throws if the grammar of Prometheus refuses the text. */
function selectorsIn(expression: string): { readonly metric: string; readonly labels: readonly string[] }[] {
  const selectors: { metric: string; labels: string[] }[] = []
  const textOf = ({ from, to }: { from: number; to: number }) => expression.slice(from, to)
  parser.parse(expression).iterate({
    enter(node) {
      if (node.type.isError) throw new Error(`${expression}: a fault at character ${node.from}`)
      if (node.name === 'VectorSelector') {
        const name = node.node.getChild('Identifier')
        if (name !== null) selectors.push({ metric: textOf(name), labels: [] })
      }
      if (node.name === 'LabelName' && node.node.parent?.name.endsWith('Matcher')) selectors.at(-1)?.labels.push(textOf(node))
    },
  })
  return selectors
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
    const subscribe = (path: string, fields: object = {}) =>
      api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event, ...fields })
    const before = await scrape()
    const valueBefore = (sample: string) => valueIn(before, sample) ?? 0
    await subscribe('/good')
    await subscribe('/busy', { retry_delays: [600] })
    await subscribe('/strict')
    const inactive = await subscribe('/inactive')
    await api.patch(`/v1/webhooks/${inactive.id}`, { is_active: false })
    await api.post('/v1/events', { event, payload: {} })
    const text = await expectSamples({
      'kolbak_attempts_total{outcome="success"}': valueBefore('kolbak_attempts_total{outcome="success"}') + 1,
      'kolbak_attempts_total{outcome="retrying"}': valueBefore('kolbak_attempts_total{outcome="retrying"}') + 1,
      'kolbak_attempts_total{outcome="failed"}': valueBefore('kolbak_attempts_total{outcome="failed"}') + 1,
      'kolbak_failed_attempts_total{reason="http_503"}': valueBefore('kolbak_failed_attempts_total{reason="http_503"}') + 1,
      'kolbak_failed_attempts_total{reason="http_422"}': valueBefore('kolbak_failed_attempts_total{reason="http_422"}') + 1,
      kolbak_first_attempt_seconds_count: valueBefore('kolbak_first_attempt_seconds_count') + 3,
      kolbak_deliveries_retrying: valueBefore('kolbak_deliveries_retrying') + 1,
      kolbak_oldest_due_seconds: 0,
      kolbak_oldest_record_seconds: 0,
      kolbak_records_unread: 0,
      kolbak_webhooks_active: valueBefore('kolbak_webhooks_active') + 3,
      kolbak_webhooks_failing: valueBefore('kolbak_webhooks_failing') + 2,
      'kolbak_webhooks_deactivated{reason="requested"}': valueBefore('kolbak_webhooks_deactivated{reason="requested"}') + 1,
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
    for (const expression of expressions) expect(selectorsIn(expression), expression).to.not.deep.equal([])
    expect(() => selectorsIn('max(kolbak_records_unread')).to.throw('a fault')
    expect(() => selectorsIn('rate(kolbak_records_unread[5m]) >> 1')).to.throw('a fault')
  })
  it('names no metric and no label in a rule or a panel that /metrics does not have', async () => {
    const text = await scrape()
    const names = new Set(
      [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name, type]) => (type === 'histogram' ? [`${name}_bucket`] : [name])),
    )
    const selectors = expressions.flatMap(selectorsIn).filter(({ metric }) => metric !== 'up')
    expect(selectors.filter(({ metric }) => !names.has(metric))).to.deep.equal([])
    const hasLabel = (metric: string, label: string) => new RegExp(`^${metric}\\{(?:[^}]*,)?${label}="`, 'm').test(text)
    const labels = selectors.flatMap(({ metric, labels: each }) => each.map((label) => [metric, label] as const))
    expect(labels.length).to.be.greaterThan(0)
    expect(labels.filter(([metric, label]) => !hasLabel(metric, label))).to.deep.equal([])
  })
  it('mounts files that exist where the programs of the profile read them', () => {
    const { services, volumes, configs } = parse(read('docker-compose.yml'), { merge: true }) as Compose
    const observers = Object.entries(services).filter(([, { profiles = [] }]) => profiles.includes('observability'))
    expect(observers.map(([name]) => name)).to.have.members(['prometheus', 'loki', 'alloy', 'grafana'])
    const targets = new Map<string, string>()
    for (const [name, { volumes: mounts = [], configs: ownConfigs = [] }] of observers) {
      for (const mount of mounts) {
        const [source, target] = mount.split(':') as [string, string]
        if (source.startsWith('./')) expect(existsSync(join(root, source)), `${name}: ${source}`).to.equal(true)
        else if (!source.startsWith('/')) expect(volumes, name).to.have.property(source)
        targets.set(target, source)
      }
      for (const { source, target } of ownConfigs) {
        expect(configs, name).to.have.property(source)
        targets.set(target, source)
      }
    }
    const scraped = parse(read('deploy/prometheus/prometheus.yml')) as PrometheusConfig
    for (const file of scraped.rule_files) expect([...targets.keys()]).to.include(`/etc/prometheus/${file}`)
    for (const { authorization, dns_sd_configs: found } of scraped.scrape_configs) {
      expect([...targets.keys()]).to.include(authorization.credentials_file)
      for (const name of found.flatMap(({ names }) => names)) expect(services, 'a scraped service').to.have.property(name)
    }
    const provisioned = parse(read('deploy/grafana/provisioning/dashboards/kolbak.yml')) as { providers: { options: { path: string } }[] }
    for (const { options } of provisioned.providers) expect(targets.get(options.path)).to.equal('./deploy/grafana/dashboards')
    const sources = parse(read('deploy/grafana/provisioning/datasources/kolbak.yml')) as { datasources: { url: string }[] }
    for (const { url } of sources.datasources) expect(services, 'a data source').to.have.property(new URL(url).hostname)
  })
  it('documents every metric of Kolbak and every alert', async () => {
    const page = read('docs/operations.md')
    const metrics = [...(await scrape()).matchAll(/^# TYPE (kolbak_\S+) /gm)].map(([, name]) => name!)
    expect(metrics.filter((name) => !new RegExp(`\`${name}[{\`]`).test(page))).to.deep.equal([])
    expect(rules.map(({ alert }) => alert).filter((alert) => !page.includes(`\`${alert}\``))).to.deep.equal([])
  })
})
