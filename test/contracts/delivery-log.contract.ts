import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { ulid } from 'ulid'
import { type DeliveryStatus, type FactType, finality, statusOf } from '../../src/events/delivery.ts'
import type { DeliveryId, EventId, MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import type { MessageRef } from '../../src/events/refs.ts'
import {
  type Attempt,
  type BodyArchive,
  type Delivery,
  type DeliveryFact,
  type DeliveryHistory,
  type DeliveryKey,
  FactRefused,
  type HistoryQuery,
  type ListedDelivery,
} from '../../src/ports/delivery-log.ts'

export interface DeliveryLogHarness {
  /** The archive together with one build of the history. */
  readonly log: BodyArchive & DeliveryHistory
  /** Stores bodies in the archive of this log, or on the bus that is its archive. */
  keep(bodies: readonly TestBody[]): Promise<MessageRef[]>
  /** Makes everything expire that was accepted before this day (`yyyy-mm-dd`). */
  expireBefore(day: string): Promise<void>
  drop(): Promise<void>
}
export interface TestBody {
  readonly tenant: TenantId
  readonly message: MessageId
  readonly fingerprint: string
  readonly accepted_at: string
  readonly sealedBody: Buffer
}

const newTenant = () => ulid() as TenantId
const newWebhook = () => ulid() as WebhookId
const newDelivery = () => randomUUID() as DeliveryId
const today = new Date().toISOString().slice(0, 10)
const at = (ms: number): string => new Date(Date.parse(`${today}T10:00:00.000Z`) + ms).toISOString()

/** Returns a fact of a new delivery, unless the given fields say otherwise. */
export function fact(fields: Partial<DeliveryFact> & { type: FactType }): DeliveryFact {
  const isRequest = ['DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered'].includes(fields.type)
  return {
    webhook: newWebhook(),
    accepted_at: at(0),
    delivery: newDelivery(),
    tenant: newTenant(),
    message: 'm1' as MessageId,
    place: 'bus/0/1/0' as Place,
    fingerprint: 'f'.repeat(64),
    event: 'order.created',
    correlation_id: 'correlation',
    chain: 1,
    attempt: isRequest ? 1 : 0,
    event_id: randomUUID() as EventId,
    time: at(1),
    code: isRequest ? 200 : null,
    duration_ms: isRequest ? 12 : null,
    reason: null,
    reason_detail: null,
    response: null,
    delay_seconds: fields.type === 'DeliveryFailed' ? 5 : null,
    ...fields,
  }
}
const keyOf = ({ webhook, accepted_at, delivery }: DeliveryKey): DeliveryKey => ({ webhook, accepted_at, delivery })

const rank = (f: DeliveryFact): [number, number, number, string] => [f.chain, finality[f.type], f.attempt, f.event_id]
const compare = (a: readonly (number | string)[], b: readonly (number | string)[]): number => {
  const i = a.findIndex((value, n) => value !== b[n])
  return i < 0 ? 0 : a[i]! < b[i]! ? -1 : 1
}
/** Returns the state and attempts that the facts of one delivery must lead to, computed independently of the adapters. */
function folded(facts: readonly DeliveryFact[]): { state: Delivery; attempts: Attempt[] } {
  const greatest = facts.reduce((a, b) => (compare(rank(b), rank(a)) > 0 ? b : a))
  const { tenant, message, place, fingerprint, event, correlation_id, type, chain, attempt, time, code, reason, delay_seconds } = greatest
  const requests = facts.filter((f) => ['DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered'].includes(f.type))
  const distinct = [...new Map(requests.map((f) => [f.event_id, f])).values()]
  return {
    state: {
      ...keyOf(greatest),
      ...{ tenant, message, place, fingerprint, event, correlation_id, type, status: statusOf[type], chain, attempt, time, code, reason },
      next_attempt_at: delay_seconds === null ? null : new Date(Date.parse(time) + delay_seconds * 1_000).toISOString(),
    },
    attempts: distinct
      .map(({ event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response }) => ({
        ...{ event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response },
      }))
      .sort((a, b) => compare([a.time, a.chain, a.attempt, a.event_id], [b.time, b.chain, b.attempt, b.event_id])),
  }
}

/** Random facts of one delivery: chains, retries, ends, replays and twins, some of which never happen in operation. */
const factsOfOne = fc
  .array(
    fc.record({
      type: fc.constantFrom<FactType>('DeliveryFailed', 'DeliveryFailed', 'DeliverySucceeded', 'DeliveryDeadLettered', 'DeliveryDiscarded'),
      chain: fc.integer({ min: 1, max: 3 }),
      attempt: fc.integer({ min: 1, max: 3 }),
      ms: fc.integer({ min: 1, max: 20 }),
      code: fc.option(fc.integer({ min: 100, max: 599 })),
      reason: fc.option(fc.constantFrom('timeout', 'http_500', '')),
      reason_detail: fc.option(fc.constantFrom('A sentence, with "quotes" and {braces}.', '')),
      response: fc.option(fc.base64String()),
      delay_seconds: fc.double({ min: 0.001, max: 86_400, noNaN: true }).map((seconds) => Math.round(seconds * 1_000) / 1_000),
      event_id: fc.uuid(),
    }),
    { minLength: 0, maxLength: 8 },
  )
  .chain((requests) =>
    fc.record({
      requests: fc.constant(requests),
      isRouted: fc.boolean(),
      replays: fc.uniqueArray(fc.integer({ min: 2, max: 3 })),
      webhook: fc.constant(null).map(newWebhook),
    }),
  )
  .filter(({ requests, isRouted, replays }) => requests.length + Number(isRouted) + replays.length > 0)
  .map(({ requests, isRouted, replays, webhook }): DeliveryFact[] => {
    const key = { webhook, delivery: newDelivery(), tenant: newTenant() }
    return [
      ...(isRouted ? [fact({ ...key, type: 'MessageRouted' })] : []),
      ...replays.map((chain) => fact({ ...key, type: 'DeliveryReplayed', chain, time: at(100) })),
      ...requests.map(({ ms, event_id, delay_seconds, ...otherFields }) =>
        fact({
          ...key,
          ...otherFields,
          event_id: event_id as EventId,
          time: at(ms),
          delay_seconds: otherFields.type === 'DeliveryFailed' ? delay_seconds : null,
        }),
      ),
    ]
  })

/** Data expire by a sweep that the harness starts, or by themselves when their time to live has passed. */
export type Expiry =
  | { readonly expires: 'by a sweep' }
  | {
      readonly expires: 'by itself'
      /** Returns a harness whose retention ends within seconds for a message that was accepted at this time. */
      untilSoonAfter(accepted_at: string): Promise<DeliveryLogHarness>
    }

/** The behaviour of every delivery log. */
export function deliveryLogContract(
  name: string,
  make: () => Promise<DeliveryLogHarness>,
  expiry: Expiry = { expires: 'by a sweep' },
): void {
  describe(`delivery log contract: ${name}`, () => {
    let harness: DeliveryLogHarness
    let log: DeliveryLogHarness['log']
    before(async () => {
      harness = await make()
      log = harness.log
    })
    after(() => harness.drop())

    const stateOf = async (key: DeliveryKey) => (await log.states([keyOf(key)]))[0] ?? null
    /** Returns a delivery without the request that some engines add. */
    const statesOf = (list: readonly ListedDelivery[]) => list.map(({ request: _, ...state }) => state)
    const attemptsOf = async (key: DeliveryKey) => (await log.attempts([keyOf(key)]))[0]!

    describe('facts', () => {
      it('lead to the same state and list of attempts in any order and in any batches, repeated or concurrent', async () => {
        const plan = fc.record({
          deliveries: fc.array(factsOfOne, { minLength: 1, maxLength: 4 }),
          seed: fc.infiniteStream(fc.nat()),
          size: fc.integer({ min: 1, max: 8 }),
          atOnce: fc.boolean(),
        })
        await fc.assert(
          fc.asyncProperty(plan, async ({ deliveries, seed, size, atOnce }) => {
            const random = () => seed.next().value as number
            const all = deliveries.flat()
            const repeated = all.filter(() => random() % 3 === 0)
            const order = [...all, ...repeated].map((f) => ({ f, n: random() })).sort((a, b) => a.n - b.n)
            const batches: DeliveryFact[][] = []
            for (let i = 0; i < order.length; i += size) batches.push(order.slice(i, i + size).map(({ f }) => f))
            if (atOnce) await Promise.all(batches.map((batch) => log.record(batch)))
            else for (const batch of batches) await log.record(batch)
            const keys = deliveries.map((facts) => keyOf(facts[0]!))
            expect(await log.states(keys)).to.deep.equal(deliveries.map((facts) => folded(facts).state))
            expect(await log.attempts(keys)).to.deep.equal(deliveries.map((facts) => folded(facts).attempts))
          }),
          { numRuns: 100 },
        )
      })

      it('of success decide the state of their chain, even when other facts come later', async () => {
        const routed = fact({ type: 'MessageRouted' })
        const key = { ...keyOf(routed), tenant: routed.tenant }
        await log.record([fact({ ...key, type: 'DeliverySucceeded', attempt: 1 })])
        await log.record([
          routed,
          fact({ ...key, type: 'DeliveryFailed', attempt: 2 }),
          fact({ ...key, type: 'DeliveryDeadLettered', attempt: 3 }),
        ])
        expect(await stateOf(key)).to.include({ status: 'success', attempt: 1, next_attempt_at: null })
        expect(await attemptsOf(key)).to.have.length(3)
      })

      it('of a later chain win over every fact of an earlier chain', async () => {
        const succeeded = fact({ type: 'DeliverySucceeded', attempt: 3 })
        const key = { ...keyOf(succeeded), tenant: succeeded.tenant }
        await log.record([succeeded])
        await log.record([fact({ ...key, type: 'DeliveryReplayed', chain: 2 })])
        expect(await stateOf(key)).to.include({ status: 'pending', chain: 2, attempt: 0 })
        await log.record([fact({ ...key, type: 'DeliveryFailed', chain: 2, attempt: 1, time: at(500), delay_seconds: 1.5 })])
        expect(await stateOf(key)).to.include({ status: 'retrying', chain: 2, attempt: 1, next_attempt_at: at(2_000) })
        await log.record([succeeded])
        expect(await stateOf(key)).to.include({ status: 'retrying' })
      })

      it('of two requests with the same chain and attempt are both listed', async () => {
        const first = fact({ type: 'DeliveryFailed', time: at(10), reason: 'timeout', code: null })
        const twin = { ...first, event_id: randomUUID() as EventId, time: at(20), reason: null, code: 500 }
        for (const order of [
          [first, twin],
          [twin, first],
        ]) {
          const delivery = newDelivery()
          for (const orderedFact of order)
            await log.record([
              { ...orderedFact, delivery, event_id: `${orderedFact.event_id.slice(0, 24)}${delivery.slice(24)}` as EventId },
            ])
          const listed = await attemptsOf({ ...first, delivery })
          expect(listed.map(({ reason, code, time }) => ({ reason, code, time }))).to.deep.equal([
            { reason: 'timeout', code: null, time: at(10) },
            { reason: null, code: 500, time: at(20) },
          ])
        }
      })

      it('keep every character and number, and times to the millisecond', async () => {
        const failedFact = fact({
          type: 'DeliveryFailed',
          accepted_at: `${today}T23:59:59.999Z`,
          time: `${today}T23:59:59.001Z`,
          message: 'a:b_c-d' as MessageId,
          event: 'order.created/üñí',
          correlation_id: '"quoted", {braced} \\ NULL \t \n',
          reason: 'NULL',
          reason_detail: 'NULL, "quoted" {braces} \\ \n',
          response: `sealed:${'A_-'.repeat(2_100)}`,
          duration_ms: 12.345,
          code: null,
          delay_seconds: 0.001,
        })
        await log.record([failedFact])
        expect(await stateOf(failedFact)).to.deep.equal(folded([failedFact]).state)
        expect(await attemptsOf(failedFact)).to.deep.equal(folded([failedFact]).attempts)
        const midnight = fact({ type: 'MessageRouted', accepted_at: `${today}T00:00:00.000Z`, correlation_id: '' })
        await log.record([midnight])
        expect(await stateOf(midnight)).to.deep.equal(folded([midnight]).state)
      })

      it('are stored in batches of thousands', async () => {
        const many = Array.from({ length: 2_500 }, (_, i) => fact({ type: 'MessageRouted', accepted_at: at(i) }))
        await log.record(many)
        expect(await log.states(many.map(keyOf))).to.deep.equal(many.map((f) => folded([f]).state))
        await log.record([])
      })

      it('that cannot be stored are named in the error, and the others can be stored without them', async () => {
        const goodFacts = Array.from({ length: 9 }, () => fact({ type: 'DeliverySucceeded' }))
        const badFact = fact({ type: 'DeliverySucceeded', chain: 2 ** 31 })
        const failure = await log.record([...goodFacts.slice(0, 4), badFact, ...goodFacts.slice(4)]).then(
          () => null,
          (error: unknown) => error,
        )
        expect(failure).to.be.instanceOf(FactRefused)
        expect(failure).to.include({ event_id: badFact.event_id })
        await log.record(goodFacts)
        expect((await log.states(goodFacts.map(keyOf))).every((state) => state?.status === 'success')).to.equal(true)
        expect(await stateOf(badFact)).to.equal(null)
      })
    })

    describe('states and attempts', () => {
      it('are returned in the order of the keys, with null and no attempts for an unknown delivery', async () => {
        const knownFacts = [fact({ type: 'DeliverySucceeded' }), fact({ type: 'DeliveryFailed' })]
        await log.record(knownFacts)
        const unknown = fact({ type: 'MessageRouted' })
        const keys = [knownFacts[1]!, unknown, knownFacts[0]!, knownFacts[1]!].map(keyOf)
        expect((await log.states(keys)).map((state) => state?.status ?? null)).to.deep.equal(['retrying', null, 'success', 'retrying'])
        expect((await log.attempts(keys)).map((list) => list.length)).to.deep.equal([1, 0, 1, 1])
        expect(await log.states([])).to.deep.equal([])
        expect(await log.attempts([])).to.deep.equal([])
      })

      it('include at most the newest 100 attempts, oldest first', async () => {
        const key = { webhook: newWebhook(), delivery: newDelivery(), tenant: newTenant() }
        const many = Array.from({ length: 130 }, (_, i) => fact({ ...key, type: 'DeliveryFailed', attempt: i + 1, time: at(i) }))
        await log.record(many)
        const listed = await attemptsOf({ ...key, accepted_at: at(0) })
        expect(listed.map((attempt) => attempt.attempt)).to.deep.equal(Array.from({ length: 100 }, (_, i) => i + 31))
      })

      it('can be found by id alone, for the tenant only', async () => {
        const failedFact = fact({ type: 'DeliveryFailed' })
        await log.record([failedFact])
        expect(await log.find(failedFact.tenant, failedFact.delivery)).to.deep.equal(folded([failedFact]).state)
        expect(await log.find(newTenant(), failedFact.delivery)).to.equal(null)
        expect(await log.find(failedFact.tenant, newDelivery())).to.equal(null)
        expect(await log.find(failedFact.tenant, 'no such id' as DeliveryId)).to.equal(null)
      })
    })

    describe('history', () => {
      const tenant = newTenant()
      const webhook = newWebhook()
      const types: FactType[] = ['MessageRouted', 'DeliveryFailed', 'DeliverySucceeded', 'DeliveryDeadLettered', 'DeliveryDiscarded']
      let facts: DeliveryFact[]
      let newestFirst: DeliveryFact[]
      before(async () => {
        // Five deliveries share each time, so that their ids decide the order.
        facts = Array.from({ length: 40 }, (_, i) =>
          fact({ tenant, webhook, type: types[i % 5]!, accepted_at: at(Math.floor(i / 5)), time: at(1_000 + i) }),
        )
        await log.record([...facts, fact({ tenant, type: 'DeliverySucceeded' }), fact({ type: 'DeliverySucceeded' })])
        newestFirst = [...facts].sort((a, b) => -compare([a.accepted_at, a.delivery], [b.accepted_at, b.delivery]))
      })
      const pages = async (query: Omit<HistoryQuery, 'limit' | 'tenant'>, limit: number) => {
        const listed: ListedDelivery[] = []
        for (;;) {
          const last = listed.at(-1)
          const after = last === undefined ? {} : { after: { at: last.accepted_at, delivery: last.delivery } }
          const page = await log.history(webhook, { ...query, ...after, tenant, limit })
          expect(page.length).to.be.at.most(limit)
          if (page.length === 0) return listed
          listed.push(...page)
        }
      }

      it('shows the deliveries of a webhook, newest first', async () => {
        expect(statesOf(await log.history(webhook, { tenant, limit: 100 }))).to.deep.equal(newestFirst.map((f) => folded([f]).state))
      })

      it('continues after a cursor without loss or repetition when times are equal', async () => {
        for (const limit of [1, 3, 7, 40]) expect(statesOf(await pages({}, limit))).to.deep.equal(newestFirst.map((f) => folded([f]).state))
      })

      it('filters by status, page by page', async () => {
        for (const status of ['pending', 'retrying', 'success', 'failed', 'discarded'] satisfies DeliveryStatus[]) {
          const expected = newestFirst.filter((f) => statusOf[f.type] === status)
          expect(expected).to.have.length(8)
          expect(statesOf(await pages({ status }, 3))).to.deep.equal(expected.map((f) => folded([f]).state))
        }
      })

      it('includes the time `since` and excludes the time `until`', async () => {
        const expected = newestFirst.filter((f) => f.accepted_at >= at(2) && f.accepted_at < at(5))
        expect(expected).to.have.length(15)
        expect(statesOf(await pages({ since: at(2), until: at(5) }, 4))).to.deep.equal(expected.map((f) => folded([f]).state))
      })

      it('covers weeks, with days of many deliveries and of none', async () => {
        const quiet = newWebhook()
        const daysBack = [0, 0, 0, 1, 3, 3, 4, 12, 27]
        const over = daysBack.map((days, i) =>
          fact({
            tenant,
            webhook: quiet,
            type: 'DeliverySucceeded',
            accepted_at: new Date(Date.parse(at(i)) - days * 86_400_000).toISOString(),
          }),
        )
        await log.record(over)
        const expected = [...over].sort((a, b) => (a.accepted_at < b.accepted_at ? 1 : -1)).map(({ delivery }) => delivery)
        for (const limit of [1, 2, 4, 9]) {
          const listed: Delivery[] = []
          for (let page = await log.history(quiet, { tenant, limit }); page.length > 0; ) {
            listed.push(...page)
            const last = listed.at(-1)!
            page = await log.history(quiet, { tenant, limit, after: { at: last.accepted_at, delivery: last.delivery } })
          }
          expect(listed.map(({ delivery }) => delivery)).to.deep.equal(expected)
        }
        const [until, since] = [over[4]!.accepted_at, over[7]!.accepted_at]
        const between = await log.history(quiet, { tenant, limit: 9, since, until })
        expect(between.map(({ delivery }) => delivery)).to.deep.equal(over.slice(6, 8).map(({ delivery }) => delivery))
      })

      it('lists the same attempts for listed deliveries as for their keys', async () => {
        const owner = { webhook: newWebhook(), tenant: newTenant() }
        const deliveries = Array.from({ length: 10 }, (_, i) => {
          const key = { ...owner, delivery: newDelivery(), accepted_at: at(i) }
          const first = fact({ ...key, type: types[i % 5]!, time: at(1_000 + i) })
          return i < 5 ? [first] : [first, fact({ ...key, type: types[(i + 2) % 5]!, attempt: 1 + (i % 3), time: at(2_000 + i) })]
        })
        await log.record(deliveries.flat())
        const shown = await log.history(owner.webhook, { tenant: owner.tenant, limit: 100 })
        const listed = await log.attempts(shown)
        expect(listed).to.deep.equal(deliveries.map((facts) => folded(facts).attempts).reverse())
        expect(await log.attempts(shown.map(keyOf))).to.deep.equal(listed)
        // The last request in the list may no longer be the last one of the delivery.
        await log.record(
          deliveries.map(([key], i) => fact({ ...owner, ...keyOf(key!), type: 'DeliverySucceeded', chain: 2, time: at(3_000 + i) })),
        )
        const later = await log.attempts(shown)
        expect(later.map((attempts) => attempts.filter(({ chain }) => chain === 1))).to.deep.equal(listed)
      })

      it('shows nothing to another tenant', async () => {
        expect(await log.history(webhook, { tenant: newTenant(), limit: 100 })).to.deep.equal([])
      })
    })

    describe('lists of a tenant', () => {
      const tenant = newTenant()
      const [first, second] = [newWebhook(), newWebhook()]
      const deliveries = Array.from({ length: 24 }, (_, i) =>
        fact({
          tenant,
          webhook: i % 2 === 0 ? first : second,
          type: (['DeliveryDeadLettered', 'DeliveryFailed', 'DeliverySucceeded'] as const)[i % 3]!,
          accepted_at: at(Math.floor(i / 4)),
          time: at(1_000 + i),
          event: i % 4 < 2 ? 'order.created' : 'order.paid',
          code: i % 3 === 2 ? 200 : i % 6 === 0 ? null : 500,
          reason: i % 3 === 2 ? null : i % 6 === 0 ? 'timeout' : 'http_500',
        }),
      )
      before(() => log.record([...deliveries, fact({ type: 'DeliveryFailed', webhook: first }), fact({ type: 'DeliveryDeadLettered' })]))
      const newestFirst = [...deliveries].sort((a, b) => -compare([a.accepted_at, a.delivery], [b.accepted_at, b.delivery]))
      const dead = [...deliveries].filter(({ type }) => type === 'DeliveryDeadLettered').reverse()
      const states = (facts: DeliveryFact[]) => facts.map((f) => folded([f]).state)

      it('contain the deliveries of all webhooks, or of some, with a status, page by page', async () => {
        for (const webhooks of [undefined, [first], [first, second], []])
          for (const status of ['failed', 'retrying', 'discarded'] as const) {
            const listed: ListedDelivery[] = []
            for (let last: ListedDelivery | undefined; ; last = listed.at(-1)) {
              const after = last && { after: { at: last.accepted_at, delivery: last.delivery } }
              const page = await log.undelivered({ tenant, status, limit: 3, ...(webhooks && { webhooks }), ...after })
              if (page.length === 0) break
              listed.push(...page)
            }
            const expected = newestFirst.filter((f) => statusOf[f.type] === status && (webhooks ?? [first, second]).includes(f.webhook))
            expect(statesOf(listed)).to.deep.equal(states(expected))
          }
        expect(await log.undelivered({ tenant: newTenant(), status: 'failed', limit: 9 })).to.deep.equal([])
      })
      it('follow a delivery into its next status', async () => {
        const key = { tenant: newTenant(), delivery: newDelivery(), webhook: newWebhook() }
        const count = async (status: 'failed' | 'retrying' | 'pending') =>
          (await log.undelivered({ tenant: key.tenant, status, limit: 9 })).length
        await log.record([fact({ ...key, type: 'DeliveryFailed' })])
        expect([await count('failed'), await count('retrying')]).to.deep.equal([0, 1])
        await log.record([fact({ ...key, type: 'DeliveryDeadLettered', attempt: 2 })])
        expect([await count('failed'), await count('retrying')]).to.deep.equal([1, 0])
        await log.record([fact({ ...key, type: 'DeliverySucceeded', chain: 2 })])
        expect([await count('failed'), await count('retrying'), await count('pending')]).to.deep.equal([0, 0, 0])
      })
      it('are filtered by event, reason, status code and time, as is the history of a webhook', async () => {
        for (const filter of [
          { event: 'order.paid' },
          { reason: 'timeout' },
          { code: 500 },
          { code: 200 },
          { event: 'order.created', code: 500 },
        ]) {
          const matches = (f: DeliveryFact) => Object.entries(filter).every(([name, value]) => f[name as keyof DeliveryFact] === value)
          expect(statesOf(await log.undelivered({ tenant, status: 'failed', limit: 99, ...filter })), JSON.stringify(filter)).to.deep.equal(
            states(newestFirst.filter((f) => f.type === 'DeliveryDeadLettered' && matches(f))),
          )
          expect(statesOf(await log.history(first, { tenant, limit: 99, ...filter })), JSON.stringify(filter)).to.deep.equal(
            states(newestFirst.filter((f) => f.webhook === first && matches(f))),
          )
          expect(statesOf(await log.deadLetters({ tenant, limit: 99, ...filter })), JSON.stringify(filter)).to.deep.equal(
            states(dead.filter(matches)),
          )
        }
        const range = { since: at(1_006), until: at(1_012) }
        expect(statesOf(await log.deadLetters({ tenant, limit: 99, ...range }))).to.deep.equal(
          states(dead.filter((f) => f.time >= range.since && f.time < range.until)),
        )
        const accepted = { since: at(1), until: at(3) }
        expect(statesOf(await log.undelivered({ tenant, status: 'retrying', limit: 99, ...accepted }))).to.deep.equal(
          states(
            newestFirst.filter((f) => f.type === 'DeliveryFailed' && f.accepted_at >= accepted.since && f.accepted_at < accepted.until),
          ),
        )
      })
      it('group dead letters by webhook, event and result, the largest group first', async () => {
        const groups = await log.deadLetterGroups({ tenant, limit: 99 })
        expect(groups.map(({ count }) => count)).to.deep.equal(groups.map(({ count }) => count).sort((a, b) => b - a))
        for (const group of groups) {
          const members = dead.filter((f) => (['webhook', 'event', 'code', 'reason'] as const).every((name) => f[name] === group[name]))
          const accepted = members.map(({ accepted_at }) => accepted_at).sort()
          expect(group).to.deep.equal({
            ...{ webhook: group.webhook, event: group.event, code: group.code, reason: group.reason, count: members.length },
            ...{ first_at: members.at(-1)?.time, last_at: members[0]?.time, sample: members[0]?.delivery },
            ...{ first_accepted_at: accepted[0], last_accepted_at: accepted.at(-1) },
          })
        }
        expect(groups.reduce((sum, { count }) => sum + count, 0)).to.equal(dead.length)
        // Only the three newest dead letters are grouped.
        const newest = await log.deadLetterGroups({ tenant, limit: 3, webhooks: [first, second] })
        expect(newest.reduce((sum, { count }) => sum + count, 0)).to.equal(3)
        expect(newest.map(({ sample }) => sample)).to.include(dead[0]?.delivery)
        expect(await log.deadLetterGroups({ tenant: newTenant(), limit: 99 })).to.deep.equal([])
        expect(await log.deadLetterGroups({ tenant, webhooks: [], limit: 99 })).to.deep.equal([])
      })
    })

    describe('dead letters', () => {
      it('are listed by the time they died, newest first, with cursor, webhooks and since', async () => {
        const tenant = newTenant()
        const webhooks = [newWebhook(), newWebhook(), newWebhook()]
        const dead = Array.from({ length: 18 }, (_, i) =>
          fact({
            tenant,
            webhook: webhooks[i % 3]!,
            type: 'DeliveryDeadLettered',
            accepted_at: at(100 - i),
            time: at(1_000 + Math.floor(i / 4)),
          }),
        )
        const others = types(tenant, webhooks[0]!)
        await log.record([...dead, ...others, fact({ type: 'DeliveryDeadLettered', webhook: webhooks[0]! })])
        const newestFirst = [...dead].sort((a, b) => -compare([a.time, a.delivery], [b.time, b.delivery]))
        const states = (facts: DeliveryFact[]) => facts.map((f) => folded([f]).state)

        expect(statesOf(await log.deadLetters({ tenant, limit: 100 }))).to.deep.equal(states(newestFirst))
        const paged: ListedDelivery[] = []
        for (let last: ListedDelivery | undefined; ; last = paged.at(-1)) {
          const page = await log.deadLetters({ tenant, limit: 5, ...(last && { after: { at: last.time, delivery: last.delivery } }) })
          if (page.length === 0) break
          paged.push(...page)
        }
        expect(statesOf(paged)).to.deep.equal(states(newestFirst))
        const firstTwo = webhooks.slice(0, 2)
        expect(statesOf(await log.deadLetters({ tenant, webhooks: firstTwo, since: at(1_001), limit: 100 }))).to.deep.equal(
          states(newestFirst.filter((f) => firstTwo.includes(f.webhook) && f.time >= at(1_001))),
        )
        expect(await log.deadLetters({ tenant, webhooks: [], limit: 100 })).to.deep.equal([])
        expect(await log.deadLetters({ tenant: newTenant(), webhooks, limit: 100 })).to.deep.equal([])
        for (const [limit, count] of [
          [100, dead.length],
          [5, 5],
        ] as const)
          expect((await log.countDeadLetters?.([newTenant(), tenant], limit)) ?? count).to.equal(count)
      })

      it('leave the list when they are replayed, even when facts come late, until they die again', async () => {
        const dead = fact({ type: 'DeliveryDeadLettered', attempt: 8 })
        const key = { ...keyOf(dead), tenant: dead.tenant }
        const ids = async () => (await log.deadLetters({ tenant: dead.tenant, limit: 10 })).map((d) => `${d.delivery}/${d.chain}`)
        await log.record([dead])
        expect(await ids()).to.deep.equal([`${dead.delivery}/1`])
        await log.record([fact({ ...key, type: 'DeliveryReplayed', chain: 2 })])
        await log.record([dead])
        expect(await ids()).to.deep.equal([])
        await log.record([fact({ ...key, type: 'DeliveryDeadLettered', chain: 2, attempt: 1, time: at(99) })])
        expect(await ids()).to.deep.equal([`${dead.delivery}/2`])
      })

      const types = (tenant: TenantId, webhook: WebhookId) =>
        (['MessageRouted', 'DeliveryFailed', 'DeliverySucceeded', 'DeliveryDiscarded'] as const).map((type) =>
          fact({ tenant, webhook, type }),
        )
    })

    describe('bodies', () => {
      const bodyWith = (fields: Partial<TestBody>): TestBody => ({
        tenant: newTenant(),
        message: 'm1' as MessageId,
        fingerprint: randomUUID(),
        accepted_at: at(0),
        sealedBody: Buffer.from('{}'),
        ...fields,
      })

      it('are returned unchanged, in the order of the keys', async () => {
        const everyByte = Buffer.from(Array.from({ length: 1_024 }, (_, i) => (i * 7) % 256))
        const bodies = [
          Buffer.alloc(0),
          Buffer.alloc(10),
          Buffer.from([0xc3, 0x28, 0xff, 0x00]),
          everyByte,
          Buffer.alloc(300_000, everyByte),
        ]
        const keys = await harness.keep(bodies.map((body, i) => bodyWith({ sealedBody: body, message: `m${i}` as MessageId })))
        expect(await log.bodies(keys)).to.deep.equal(bodies)
        const backwards = [...keys.keys()].reverse()
        expect(await log.bodies(backwards.map((i) => keys[i]!))).to.deep.equal(backwards.map((i) => bodies[i]))
        expect(await log.bodies([keys[3]!, keys[3]!])).to.deep.equal([everyByte, everyByte])
        expect(await log.bodies([])).to.deep.equal([])
      })

      it('are found by content, so that other content under the same id never replaces them', async () => {
        const tenant = newTenant()
        const first = bodyWith({ tenant, sealedBody: Buffer.from('first') })
        const other = bodyWith({ tenant, sealedBody: Buffer.from('other') })
        const keys = [...(await harness.keep([first])), ...(await harness.keep([other]))]
        expect(await log.bodies(keys)).to.deep.equal([first.sealedBody, other.sealedBody])
        expect(await log.bodies([{ ...keys[0]!, fingerprint: 'neither' }])).to.deep.equal([null])
        expect(await log.bodies([{ ...keys[0]!, message: 'm2' as MessageId }])).to.deep.equal([null])
      })

      it('may be archived again, and an empty list may be archived', async () => {
        const archivedBody = bodyWith({ sealedBody: Buffer.from('again') })
        const [key] = await harness.keep([archivedBody])
        await log.archive([
          { ...key!, sealedBody: archivedBody.sealedBody },
          { ...key!, sealedBody: archivedBody.sealedBody },
        ])
        await log.archive([])
        expect(await log.bodies([key!])).to.deep.equal([archivedBody.sealedBody])
      })

      it('are empty after an erasure, and stay so when they are archived again', async () => {
        const bodies = ['erased', 'kept'].map((text) => bodyWith({ sealedBody: Buffer.from(text), message: text as MessageId }))
        const keys = await harness.keep(bodies)
        for (let times = 0; times < 2; times++) await log.erase([keys[0]!])
        await log.archive([{ ...keys[0]!, sealedBody: bodies[0]!.sealedBody }])
        await log.erase([{ ...keys[1]!, fingerprint: 'other content' }])
        expect(await log.bodies(keys)).to.deep.equal([Buffer.alloc(0), bodies[1]!.sealedBody])
      })

      it('expire with the retention, as deliveries do, and bodies of later days stay', async () => {
        const day = (n: number) => `2020-05-0${n}T12:00:00.000Z`
        const { log, ...expiring } = expiry.expires === 'by itself' ? await expiry.untilSoonAfter(day(2)) : harness
        const bodies = [1, 2, 3].map((n) => bodyWith({ accepted_at: day(n), sealedBody: Buffer.from(`day ${n}`) }))
        const keys = await expiring.keep(bodies)
        const webhook = newWebhook()
        const tenant = newTenant()
        const facts = [1, 2, 3].map((n) => fact({ tenant, webhook, type: 'DeliveryDeadLettered', accepted_at: day(n) }))
        await log.record(facts)
        await expiring.expireBefore('2020-05-03')
        expect(await log.bodies(keys)).to.deep.equal([null, null, bodies[2]!.sealedBody])
        expect(await log.states(facts.map(keyOf))).to.deep.equal([null, null, folded([facts[2]!]).state])
        expect(await log.history(webhook, { tenant, limit: 10 })).to.have.length(1)
        expect(await log.deadLetters({ tenant, limit: 10 })).to.have.length(1)
        // A fact that comes later is stored and expires with the next sweep, or is not stored.
        await log.record(facts.slice(0, 1))
        const [lateState] = await log.states([keyOf(facts[0]!)])
        expect(lateState?.status ?? null).to.equal(expiry.expires === 'by itself' ? null : 'failed')
        if (expiry.expires === 'by itself') await expiring.drop()
      })
    })
  })
}
