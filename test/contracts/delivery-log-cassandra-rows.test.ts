import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ulid } from 'ulid'
import type { DeliveryId, EventId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { placeOf } from '../../src/events/message-record.ts'
import { messageRefOf } from '../../src/events/refs.ts'
import { type Delivery, type DeliveryFact, FactRefused } from '../../src/ports/delivery-log.ts'
import { type OpenedLog, openCassandraLog } from '../support/delivery-log-cassandra.ts'
import { describeWithCassandra } from '../support/engines/cassandra.ts'
import { fact } from './delivery-log.contract.ts'

const dayMs = 86_400_000
const daysAgo = (days: number, ms = 0): string => new Date(Date.now() - days * dayMs + ms).toISOString()
const newestFirst = (a: DeliveryFact, b: DeliveryFact): number =>
  a.accepted_at !== b.accepted_at ? (a.accepted_at < b.accepted_at ? 1 : -1) : a.delivery < b.delivery ? 1 : -1

describeWithCassandra('rows of the delivery log on Cassandra', () => {
  let opened: OpenedLog
  const newIds = () => ({ webhook: ulid() as WebhookId, tenant: ulid() as TenantId })
  before(async () => {
    opened = await openCassandraLog()
  })
  after(() => opened?.drop())
  const allRows = (table: string, columns: string) => opened.cassandra.query(`select ${columns} from ${opened.keyspace}.${table}`)

  it('are kept for the rest of the retention, even when they are written late', async () => {
    const { log, history } = opened
    const lateFact = fact({ ...newIds(), type: 'DeliveryDeadLettered', accepted_at: daysAgo(20), time: daysAgo(1) })
    const key = {
      tenant: lateFact.tenant,
      message: lateFact.message,
      fingerprint: 'late',
      event: lateFact.event,
      place: placeOf('kafka', 0, 0n, 0),
    }
    await history.record([lateFact])
    await log.archive([{ ...key, accepted_at: lateFact.accepted_at, sealedBody: Buffer.from('late') }])
    const ends = [
      ...(await allRows('facts_1', 'webhook as id, ttl(place) as ttl')).filter(({ id }) => id === lateFact.webhook),
      ...(await allRows('dead_letters_by_tenant_1', 'delivery as id, ttl(webhook) as ttl')).filter(({ id }) => id === lateFact.delivery),
      ...(await allRows('sealed_bodies', 'fingerprint as id, ttl(sealed_body) as ttl')).filter(({ id }) => id === 'late'),
    ].map(({ ttl }) => Number(ttl))
    expect(ends).to.have.length(3)
    for (const seconds of ends) expect(seconds).to.be.within(10 * 86_400 - 20, 10 * 86_400)
  })

  it('are not written after the retention', async () => {
    const expiredFact = fact({ ...newIds(), type: 'DeliveryDeadLettered', accepted_at: daysAgo(30.01) })
    const keptFact = fact({ ...newIds(), type: 'DeliveryDeadLettered' })
    const place = placeOf('kafka', 0, 0n, 0)
    await opened.history.record([expiredFact, keptFact])
    await opened.log.archive([{ ...messageRefOf(expiredFact), fingerprint: 'gone', place, sealedBody: Buffer.from('gone') }])
    const tables = [
      'facts_1',
      'deliveries_by_webhook_1',
      'deliveries_by_status_1',
      'undelivered_by_tenant_1',
      'dead_letters_by_tenant_1',
      'dead_letters_by_webhook_1',
    ]
    for (const table of tables) {
      const ids = (await allRows(table, 'delivery')).map(({ delivery }) => delivery)
      expect(ids, table).to.include(keptFact.delivery).and.not.include(expiredFact.delivery)
    }
    expect((await allRows('sealed_bodies', 'fingerprint')).map(({ fingerprint }) => fingerprint)).to.not.include('gone')
  })

  it('leave out null values instead of writing tombstones', async () => {
    const fullFact = fact({ ...newIds(), type: 'DeliveryFailed', code: 500, reason: 'http_500', response: 'sealed', delay_seconds: 5 })
    await opened.history.record([fullFact])
    // The same row is written again: a null would erase the stored value.
    await opened.history.record([{ ...fullFact, code: null, duration_ms: null, reason: null, response: null, delay_seconds: null }])
    const [attempt] = (await opened.history.attempts([fullFact]))[0] ?? []
    expect(attempt).to.include({ code: 500, duration_ms: fullFact.duration_ms, reason: 'http_500', response: 'sealed' })
  })

  it('have no earlier state of a delivery that ends within one batch', async () => {
    const routed = fact({ ...newIds(), type: 'MessageRouted' })
    const succeeded: DeliveryFact = { ...routed, type: 'DeliverySucceeded', attempt: 1, event_id: randomUUID() as EventId }
    await opened.history.record([succeeded, routed, routed])
    const statuses = (await allRows('deliveries_by_status_1', 'delivery, status')).filter(({ delivery }) => delivery === routed.delivery)
    expect(statuses.map(({ status }) => status)).to.deep.equal(['success'])
  })

  it('are found over many days, most of which are empty', async () => {
    const webhook = newIds()
    const offsets = [0, 0.001, 1, 1.5, 2, 9, 9.0001, 9.0002, 17, 25, 29.5, 29.9]
    const facts = offsets.flatMap((days) =>
      Array.from({ length: 3 }, () => fact({ ...webhook, type: 'DeliverySucceeded', accepted_at: daysAgo(days), time: daysAgo(0) })),
    )
    await opened.history.record(facts)
    const expected = [...facts].sort(newestFirst).map(({ delivery }) => delivery)
    for (const limit of [1, 4, 100]) {
      const listed: Delivery[] = []
      for (let last: Delivery | undefined; ; last = listed.at(-1)) {
        const after = last && { after: { at: last.accepted_at, delivery: last.delivery } }
        const page = await opened.history.history(webhook.webhook, { tenant: webhook.tenant, status: 'success', limit, ...after })
        if (page.length === 0) break
        listed.push(...page)
      }
      expect(listed.map(({ delivery }) => delivery)).to.deep.equal(expected)
    }
    const between = { since: daysAgo(17.5), until: daysAgo(8.5) }
    const firstPage = await opened.history.history(webhook.webhook, { tenant: webhook.tenant, limit: 100, ...between })
    expect(firstPage.map(({ delivery }) => delivery)).to.deep.equal(
      facts
        .filter((f) => f.accepted_at >= between.since && f.accepted_at < between.until)
        .sort(newestFirst)
        .map(({ delivery }) => delivery),
    )
  })

  it('are found behind thousands of rows that lead to an earlier state', async () => {
    const webhook = newIds()
    const routed = Array.from({ length: 3_000 }, (_, i) => fact({ ...webhook, type: 'MessageRouted', accepted_at: daysAgo(1, i) }))
    await opened.history.record(routed)
    await opened.history.record(
      routed.slice(3).map((f): DeliveryFact => ({ ...f, type: 'DeliverySucceeded', attempt: 1, event_id: randomUUID() as EventId })),
    )
    const query = { tenant: webhook.tenant, status: 'pending', limit: 2 } as const
    const first = await opened.history.history(webhook.webhook, query)
    expect(first.map(({ delivery }) => delivery)).to.deep.equal([routed[2]!.delivery, routed[1]!.delivery])
    const last = first.at(-1)!
    const second = await opened.history.history(webhook.webhook, { ...query, after: { at: last.accepted_at, delivery: last.delivery } })
    expect(second.map(({ delivery }) => delivery)).to.deep.equal([routed[0]!.delivery])
  })

  it('are found when they are dead letters, for many webhooks and for few', async () => {
    const { tenant } = newIds()
    const webhooks = Array.from({ length: 20 }, () => ulid() as WebhookId)
    const dead = webhooks.map((webhook, i) =>
      fact({ tenant, webhook, type: 'DeliveryDeadLettered', accepted_at: daysAgo(5), time: daysAgo(3 - i / 10) }),
    )
    await opened.history.record(dead)
    for (const count of [1, 5, 19]) {
      const selected = webhooks.slice(0, count)
      const listed = await opened.history.deadLetters({ tenant, webhooks: selected, limit: 100 })
      expect(listed.map(({ webhook }) => webhook)).to.deep.equal([...selected].reverse())
    }
  })

  it('do not include a fact that cannot be stored, and the error names it wherever it is in a batch', async () => {
    const goodFacts = Array.from({ length: 20 }, () => fact({ type: 'DeliverySucceeded' }))
    const badFacts = [
      fact({ type: 'DeliverySucceeded', accepted_at: '2026-02-30T00:00:00.000Z' }),
      fact({ type: 'DeliverySucceeded', accepted_at: 'yesterday' }),
      fact({ type: 'DeliverySucceeded', time: '2026-01-01T25:00:00.000Z' }),
      fact({ type: 'DeliverySucceeded', event_id: 'no uuid' as EventId }),
      fact({ type: 'DeliverySucceeded', delivery: '' as DeliveryId }),
      fact({ type: 'DeliverySucceeded', code: 1.5 }),
      fact({ type: 'DeliverySucceeded', code: 2 ** 40 }),
      fact({ type: 'DeliverySucceeded', duration_ms: Number.NaN }),
      fact({ type: 'DeliverySucceeded', correlation_id: 'x'.repeat(2 << 20) }),
    ]
    for (const [i, one] of badFacts.entries()) {
      const failure = await opened.history.record(goodFacts.toSpliced(i * 2, 0, one)).then(
        () => null,
        (error: unknown) => error,
      )
      expect(failure, `fact ${i}`).to.be.instanceOf(FactRefused)
      expect(failure).to.include({ event_id: one.event_id })
    }
    await opened.history.record(goodFacts)
  })
})
