import { endsChain } from '../../src/events/delivery.ts'
import { factsOf, routedMessagesIn } from '../../src/events/delivery-facts.ts'
import { deliveryId } from '../../src/events/delivery-id.ts'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import type { DeliveryId, MessageId, WebhookId } from '../../src/events/ids.ts'
import { decodeRecord, type MessageRecord, placeOf } from '../../src/events/message-record.ts'
import { upcast } from '../../src/events/schema.ts'
import { webhookStream } from '../../src/events/streams.ts'
import type { DeliveryFact } from '../../src/ports/delivery-log.ts'
import { bodyOf } from './callers.ts'
import { greatest, stateReadKey } from './delivery-log.ts'
import { ErasureInvariants } from './erasure-invariants.ts'
import { LogInvariants } from './log-invariants.ts'
import type { Post } from './receivers.ts'
import { emptyTables, indexKey, type ScheduledRow } from './tables.ts'
import { applyWebhookEvent } from './webhook-model.ts'
import { retry_delays, type World } from './world.ts'

const sameAttempt = (a: { chain: number; attempt: number }, b: { chain: number; attempt: number }) =>
  a.chain === b.chain && a.attempt === b.attempt
const nameOf = (ref: { message: MessageId; webhook: WebhookId; chain: number; attempt: number }) =>
  `${ref.message} > ${ref.webhook.at(-1)} ${ref.chain}.${ref.attempt}`

/** Checks the invariants of a world, while it runs and at its end. */
export class Invariants {
  private readonly world: World
  private readonly facts = new Map<DeliveryId, DeliveryFact[]>()
  private readonly posts = new Map<DeliveryId, Post[]>()
  private readonly routed = new Map<string, RecordedEvent>()
  private readonly rejected = new Set<string>()
  private readonly checked = new Map<number, number>()
  private readonly logInvariants: LogInvariants
  private readonly erasures: ErasureInvariants

  constructor(world: World) {
    this.world = world
    this.logInvariants = new LogInvariants(world)
    this.erasures = new ErasureInvariants(world)
    world.events.onStored = (event) => this.stored(event)
    world.events.onTwice = (event) => this.bad('twice', `${event.type} ${event.id} would be stored a second time`)
    world.events.onUnreadable = (stream, reported, revision) =>
      this.bad('conflict', `a conflict reported revision ${reported} of ${stream}, and a later read showed only revision ${revision}`)
    world.onSaved = (partition, offset) => this.saved(partition, offset)
    world.receivers.onPost = (post) => this.posted(post)
  }
  private bad(invariant: string, text: string): void {
    this.world.violate(invariant, text)
  }
  private stored(event: RecordedEvent): void {
    this.logInvariants.stored(event)
    this.erasures.stored(event)
    if (this.world.truth.forged.has(event.id)) return
    const { place } = event.data as { place?: string }
    if (event.type === 'MessageRouted' || event.type === 'MessagesRouted')
      for (const { message } of routedMessagesIn(event as Parameters<typeof routedMessagesIn>[0])) this.routed.set(message.place, event)
    if (event.type === 'MessageRejected') this.rejected.add(place!)
    if (event.stream.startsWith('routing') || event.stream.startsWith('attempts'))
      for (const fact of factsOf(upcast(event))) this.facts.set(fact.delivery, [...(this.facts.get(fact.delivery) ?? []), fact])
    if (event.type === 'WebhookDeactivated' && (event.data as { reason: string }).reason === 'gone') this.gone(event)
  }
  /** Invariant `gone`: no webhook is deactivated because of a URL that it no longer has. */
  private gone(event: RecordedEvent): void {
    const { all } = this.world.events
    const cause = all.find(({ id }) => id === event.metadata.$causationId)
    if (cause !== undefined && this.world.truth.forged.has(cause.id)) this.bad('forged', `${event.stream} was deactivated by a forged 410`)
    const seen = (cause?.data as { webhook_revision?: number } | undefined)?.webhook_revision ?? -1
    if (all.some((other) => other.stream === event.stream && other.type === 'WebhookChanged' && other.revision > seen && other !== event))
      this.bad('gone', `${event.stream} was deactivated for its former URL`)
  }
  /** Invariant 4: every message before a saved offset is done. */
  private saved(partition: number, offset: bigint): void {
    const { bus, tables } = this.world
    const { records } = bus.partitions[partition]!
    for (let at = this.checked.get(partition) ?? 0; at < Number(offset); at++) {
      this.checked.set(partition, at + 1)
      let record: MessageRecord
      try {
        record = decodeRecord(records[at]!)
      } catch {
        if (!tables.quarantinedRecords.has(`${partition}/${at}`))
          this.bad('4', `offset ${offset} was saved past bytes that are not quarantined`)
        continue
      }
      if (this.world.truth.faulty.has(`${partition}/${at}`)) {
        if (!tables.quarantinedRecords.has(`${partition}/${at}`))
          this.bad('4', `offset ${offset} was saved past a faulty message that is not quarantined`)
        continue
      }
      record.messages.forEach((message, i) => {
        const place = placeOf(bus.identity, partition, BigInt(at), i)
        const row = tables.index.get(indexKey(record.tenant, message.id))
        const past = (what: string): void => this.bad('4', `offset ${offset} was saved past ${place} (${message.id}): ${what}`)
        if (row === undefined) {
          past('not routed')
          return
        }
        if (row.place !== place) {
          if (row.fingerprint !== message.fingerprint && !this.rejected.has(place)) past('not rejected')
          return
        }
        if (!this.routed.has(place)) past('no event of its routing')
        for (const webhook of row.webhooks) {
          const id = deliveryId(record.tenant, message.id, place, webhook)
          const isBegun = (this.facts.get(id) ?? []).some((fact) => fact.attempt > 0 || fact.chain > 1)
          if (!isBegun && !tables.scheduled.has(id)) past(`the delivery to ${webhook.at(-1)} is neither attempted nor parked`)
        }
      })
    }
  }
  /** Checks the invariants 5, `early` and 7 at each request. */
  private posted(post: Post): void {
    const { ref, at } = post
    const { log, truth, tables } = this.world
    const posts = [...(this.posts.get(ref.delivery) ?? []), post]
    this.posts.set(ref.delivery, posts)
    const name = nameOf(ref)
    this.erasures.posted(post)
    const row = tables.index.get(indexKey(ref.tenant, ref.message))
    if (post.body !== bodyOf(ref.message, row?.fingerprint ?? '') || post.id !== ref.message)
      this.bad('7', `${name}: the receiver got ${post.body} instead of ${row?.fingerprint}`)
    if (ref.attempt > retry_delays.length + 1 || post.attempt !== ref.attempt) this.bad('5', `${name} is beyond the schedule`)
    if (ref.attempt > 1) {
      const before = { chain: ref.chain, attempt: ref.attempt - 1 }
      const facts = this.facts.get(ref.delivery) ?? []
      if (!facts.some((fact) => fact.type === 'DeliveryFailed' && sameAttempt(fact, before)))
        this.bad('5', `${name} has no failure before it`)
      const earliest = Math.min(...posts.filter((other) => sameAttempt(other.ref, before)).map((other) => other.at))
      const due = earliest + retry_delays[before.attempt - 1]! * 800
      if (at < due) this.bad('early', `${name} came ${Math.round(due - at)} ms too early`)
    }
    if (ref.chain > 1 && !(this.facts.get(ref.delivery) ?? []).some((f) => f.type === 'DeliveryReplayed' && f.chain === ref.chain))
      this.bad('5', `${name} is in a chain that was not requested`)
    const readAt = log.stateReadAt.get(stateReadKey(post.life, ref.delivery, post.fromTable)) ?? 0
    if ((truth.ended.get(ref.delivery) ?? []).some((end) => end.chain >= ref.chain && end.at < readAt))
      this.bad('5', `${name} was sent although its end was known before`)
  }

  /** Returns whether a row may wait for ever, because its webhook is unknown or its tenant is suspended. */
  private mayWait(row: ScheduledRow): boolean {
    const { webhooks, tenants } = this.world.tables
    return !webhooks.has(row.webhook) || tenants.get(row.tenant)?.is_suspended === true
  }
  /** Returns the reasons why the world is not at rest. The list is empty when the world is at rest. */
  unrest(): string[] {
    const { tables, events, bus, receivers } = this.world
    const why: string[] = []
    const families: Readonly<Record<string, RegExp>> = {
      webhooks: /^(webhook|tenant)-/,
      deliveries: /^(routing|attempts)-/,
    }
    for (const [name, streams] of Object.entries(families)) {
      const head = events.all.findLast((event) => streams.test(event.stream))?.position ?? null
      const { checkpoint } = tables.projections.get(name)!
      if ((checkpoint ?? '') < (head ?? '')) why.push(`the projection ${name} is at ${checkpoint} of ${head}`)
    }
    const manager = tables.projections.get('endpoint_manager')!.checkpoint ?? ''
    const failure = events.all.findLast((event) => event.type === 'DeliveryFailed' || event.type === 'DeliveryDeadLettered')
    if (manager < (failure?.position ?? '')) why.push(`the endpoint manager is at ${manager} of ${failure?.position}`)
    bus.partitions.forEach(({ records }, i) => {
      const saved = Number(tables.offsets.get(i) ?? 0n)
      if (saved !== records.length) why.push(`partition ${i} is at ${saved} of ${records.length}`)
    })
    for (const row of tables.scheduled.values()) if (!this.mayWait(row)) why.push(`row ${nameOf(row)}`)
    why.push(...this.logInvariants.unrest(), ...this.erasures.unrest())
    if (receivers.open > 0) why.push(`${receivers.open} requests in flight`)
    return why
  }

  private wasChanged(webhook: WebhookId, before: string): boolean {
    const stream = webhookStream(webhook)
    const ends = ['WebhookDeactivated', 'WebhookDeleted']
    return this.world.events.all.some((event) => event.stream === stream && ends.includes(event.type) && event.position < before)
  }
  private judgeAccepted(): void {
    const { tables, truth } = this.world
    for (const { tenant, message, fingerprint, target } of truth.accepted) {
      const row = tables.index.get(indexKey(tenant, message))
      if (row === undefined) {
        this.bad('1', `${message} was accepted and never routed`)
        continue
      }
      if (row.fingerprint !== fingerprint || target !== null) continue
      const routedAt = this.routed.get(row.place)?.position ?? '~'
      const first = truth.firstPosted.get(indexKey(tenant, message))!
      for (const [webhook, created] of truth.created)
        if (created.tenant === tenant && created.at <= first && !this.wasChanged(webhook, routedAt) && !row.webhooks.includes(webhook))
          this.bad('1', `${message} does not match ${webhook.at(-1)}, which was active`)
    }
    for (const [p, { records }] of this.world.bus.partitions.entries())
      for (const [offset, bytes] of records.entries()) {
        if (truth.garbage.has(`${p}/${offset}`)) continue
        const record = decodeRecord(bytes)
        record.messages.forEach((message, i) => {
          const place = placeOf('bus', p, BigInt(offset), i)
          const row = tables.index.get(indexKey(record.tenant, message.id))
          if (row !== undefined && row.fingerprint !== message.fingerprint && !this.rejected.has(place))
            this.bad('7', `${message.id} at ${place} has other content and no rejection`)
        })
      }
  }
  /** Invariant 2: the read model of webhooks agrees with its events. */
  private judgeWebhooks(): void {
    const { tables, events } = this.world
    const { webhooks, tenants } = emptyTables()
    for (const event of events.all) if (/^(webhook|tenant)-/.test(event.stream)) applyWebhookEvent({ webhooks, tenants }, event)
    for (const [id, row] of webhooks)
      if (tables.webhooks.get(id)?.position !== row.position)
        this.bad('2', `the read model of webhooks differs from the events of ${id.at(-1)}`)
  }
  /** Returns whether the attempts of a webhook wait for an operator, because one of them is forged. */
  private isForgedFor(webhook: WebhookId): boolean {
    return [...this.world.truth.forged.values()].includes(webhook)
  }
  /** Invariant `forged`: an end that Kolbak has not written ends nothing. */
  private judgeEnds(): void {
    for (const [delivery, ends] of this.world.truth.ended)
      for (const { chain } of ends)
        if (!(this.facts.get(delivery) ?? []).some((fact) => endsChain(fact.type) && fact.chain === chain))
          this.bad('forged', `chain ${chain} of ${delivery} was ended by a forged event`)
  }
  private judgeDelivery(message: MessageId, id: DeliveryId, webhook: WebhookId): void {
    if (this.isForgedFor(webhook)) return
    const { log, tables } = this.world
    const facts = this.facts.get(id) ?? []
    const posts = this.posts.get(id) ?? []
    const name = `${message} > ${webhook.at(-1)}`
    const state = log.stateOf(id)
    const row = tables.scheduled.get(id)
    if (state === undefined) {
      this.bad('1', `${name} is not in the delivery log`)
      return
    }
    const best = greatest(facts)!
    if (best.event_id !== state.event_id)
      this.bad('2', `${name} has ${state.type} ${nameOf(state)} in the log, and ${best.type} ${nameOf(best)} in the events`)
    if (!endsChain(state.type) && !(row !== undefined && this.mayWait(row))) this.bad('1', `${name} stays ${state.type} for ever`)
    for (const fact of facts) {
      if (fact.attempt > 0 && !log.facts.get(id)?.has(fact.event_id)) this.bad('2', `${name}: attempt ${fact.event_id} is not in the log`)
      if (fact.type === 'DeliverySucceeded' && !posts.some((post) => post.code === 200 && sameAttempt(post.ref, fact)))
        this.bad('2', `${name} has a success that the receiver did not send`)
      if (fact.type === 'DeliveryDiscarded' && !this.wasChanged(webhook, '~')) this.bad('1', `${name} was discarded without a reason`)
      const isErasure = fact.reason === 'payload_erased' && this.erasures.isAsked(fact)
      if (fact.type === 'DeliveryDeadLettered' && fact.code !== 410 && !isErasure && fact.attempt <= retry_delays.length)
        this.bad('1', `${name} became a dead letter too early (${fact.reason})`)
    }
    const isSent = ({ type, reason }: DeliveryFact) =>
      ['DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered'].includes(type) && reason !== 'payload_erased'
    const sent = facts.filter(isSent)
    for (const fact of sent) {
      const recorded = new Set(sent.filter((other) => sameAttempt(other, fact)).map((other) => other.event_id)).size
      if (recorded > posts.filter((post) => sameAttempt(post.ref, fact)).length)
        this.bad('2', `${name}: attempt ${fact.chain}.${fact.attempt} is recorded more often than it was sent`)
    }
  }
  /**
   * Checks the state at the end. Returns the number of requests, and the number of repeated requests. @param isStill whether nothing happened that
   * may repeat a request
   */
  judge(isStill: boolean): { posts: number; repeated: number } {
    const { tables, truth, log, receivers } = this.world
    this.judgeAccepted()
    this.judgeWebhooks()
    this.judgeEnds()
    this.erasures.judge()
    for (const { tenant, message, place, webhooks } of tables.index.values())
      for (const webhook of webhooks) this.judgeDelivery(message, deliveryId(tenant, message, place, webhook), webhook)
    for (const { delivery, chain, webhook } of truth.replays) {
      if (this.isForgedFor(webhook)) continue
      const state = log.stateOf(delivery)
      const row = tables.scheduled.get(delivery)
      const isDone = state !== undefined && (state.chain > chain || (state.chain === chain && endsChain(state.type)))
      if (!isDone && !(row !== undefined && this.mayWait(row))) this.bad('5', `the replay ${delivery} ${chain} was not carried out`)
    }
    for (const row of tables.scheduled.values()) if (!this.mayWait(row)) this.bad('6', `a row is left: ${nameOf(row)}`)
    for (const stream of tables.quarantinedStreams)
      if (![...truth.forged.keys()].some((id) => stream.includes(id))) this.bad('quarantine', stream)
    const times = new Map<string, number>()
    for (const { ref } of receivers.posts) times.set(nameOf(ref), (times.get(nameOf(ref)) ?? 0) + 1)
    const repeated = [...times].filter(([, count]) => count > 1)
    if (isStill && repeated.length > 0) this.bad('3', `sent twice without a crash: ${repeated.map(([name]) => name).join(', ')}`)
    return { posts: receivers.posts.length, repeated: repeated.reduce((sum, [, count]) => sum + count - 1, 0) }
  }
}
