import { type FactType, isListedAttempt, statusOf } from '../../events/delivery.ts'
import type { EventId, WebhookId } from '../../events/ids.ts'
import { type DeliveryRef, deliveryRefOf } from '../../events/refs.ts'
import { mapBounded } from '../../lib/bounded.ts'
import { deliveryRefColumns } from '../../lib/ref-columns.ts'
import {
  type Attempt,
  byText,
  type DeadLetterGroup,
  type DeadLettersQuery,
  type Delivery,
  type DeliveryKey,
  type DeliveryReads,
  oldestFirst,
  type ResultFilter,
} from '../../ports/delivery-log.ts'
import type { HistoryTables } from './migrations.ts'
import { newestFirst, type Position, type Range, rangeOf } from './newest-first.ts'
import type { Retention } from './retention.ts'
import type { Row, Session } from './session.ts'

/** The most attempts of one delivery that are returned. They are the newest. */
const maxAttempts = 100
/** Limits of the facts that are read of one delivery. A delivery has few facts, unless it was replayed for days. */
const maxFacts = { pages: 20, rows: 100 }
/** The most requests in flight at once for one call. */
const atOnce = 128
/** Dead letters of up to this many webhooks are read from the list of each webhook. For more webhooks, the tenant's list is filtered. */
const maxLists = 8

const stateColumns = `${deliveryRefColumns}, type, time, code, reason, next_attempt_at`
const attemptColumns = 'event_id, chain, attempt, type, time, code, duration_ms, reason, reason_detail, response'

const timeText = (value: unknown): string => (value as Date).toISOString()
const deliveryOf = (row: Row): Delivery => ({
  ...deliveryRefOf({ ...(row as unknown as DeliveryRef), accepted_at: timeText(row.accepted_at) }),
  type: row.type as FactType,
  status: statusOf[row.type as FactType],
  time: timeText(row.time),
  code: row.code as number | null,
  reason: row.reason as string | null,
  next_attempt_at: row.next_attempt_at === null ? null : timeText(row.next_attempt_at),
})
const attemptOf = (row: Row): Attempt => ({
  event_id: row.event_id as EventId,
  chain: row.chain as number,
  attempt: row.attempt as number,
  type: row.type as FactType,
  time: timeText(row.time),
  code: row.code as number | null,
  duration_ms: row.duration_ms as number | null,
  reason: row.reason as string | null,
  reason_detail: row.reason_detail as string | null,
  response: row.response as string | null,
})
/** An entry of a list. The lists of a tenant name the webhook. */
interface ListRow extends Position {
  readonly webhook: WebhookId | undefined
}
/** Returns at most `limit` rows of one day in a range, newest first. */
type ReadRows = (day: string, range: Range, limit: number) => Promise<ListRow[]>
const newerFirst = (a: Position, b: Position): number => b.at - a.at || byText(b.delivery, a.delivery)

/** Makes the readers of one build of the history. They throw DeliveryLogUnavailable, and RangeError for an invalid time. */
export function createDeliveryQueries(session: Session, tables: HistoryTables, kept: Retention): DeliveryReads {
  const state = `select ${stateColumns} from ${tables.facts} where delivery = ? limit 1`
  const facts = `select ${attemptColumns} from ${tables.facts} where delivery = ?`
  const stateOf = async (delivery: string): Promise<Delivery | null> => {
    const { rows } = await session.read({ cql: state, params: [delivery] }, 1)
    return rows[0] === undefined ? null : deliveryOf(rows[0])
  }
  /** Returns the states of the rows that pass the filter, in the order of the rows. */
  const statesThat = async <R extends Position>(rows: readonly R[], passes: (state: Delivery, row: R) => boolean): Promise<Delivery[]> => {
    const states = await mapBounded(rows, atOnce, (row) => stateOf(row.delivery))
    return states.filter((delivery, i): delivery is Delivery => delivery !== null && passes(delivery, rows[i]!))
  }
  const attemptsOf = async ({ delivery }: DeliveryKey): Promise<Attempt[]> => {
    let newest: Attempt[] = []
    let from: string | undefined
    for (let page = 0; page < maxFacts.pages; page++) {
      const { rows, next } = await session.read({ cql: facts, params: [delivery] }, maxFacts.rows, from)
      newest = [...newest, ...rows.map(attemptOf).filter(({ type }) => isListedAttempt(type))].sort(oldestFirst).slice(-maxAttempts)
      if (next === null) break
      from = next
    }
    return newest
  }
  return {
    ...createListReaders(session, { tables, kept, statesThat }),
    states: (keys) =>
      mapBounded(keys, atOnce, async ({ webhook, accepted_at, delivery }) => {
        const stored = await stateOf(delivery)
        return stored?.webhook === webhook && stored.accepted_at === accepted_at ? stored : null
      }),
    async find(tenant, delivery) {
      if (delivery === '') return null // Cassandra would refuse an empty partition key
      const stored = await stateOf(delivery)
      return stored?.tenant === tenant ? stored : null
    },
    attempts: (keys) => mapBounded(keys, atOnce, attemptsOf),
  }
}

/** Returns the states of the rows that pass the filter, in the order of the rows. */
type StatesThat = <R extends Position>(rows: readonly R[], passes: (state: Delivery, row: R) => boolean) => Promise<Delivery[]>

/** Makes the reader of a list that has a partition for each day. The reader returns the rows of one day in a range. */
const createListReader = (session: Session) => (table: string, key: readonly string[], at: string) => {
  const cql = `select ${at} as at, delivery${key.includes('tenant') ? ', webhook' : ''} from ${table}
      where ${[...key, 'day'].map((column) => `${column} = ?`).join(' and ')}
        and (${at}, delivery) < (?, ?) and (${at}) >= (?) limit ?`
  return async (values: readonly string[], day: string, { since, before }: Range, limit: number) => {
    const params = [...values, day, new Date(before.at), before.delivery, new Date(since), limit]
    const { rows } = await session.read({ cql, params }, limit)
    return rows.map((row) => ({
      at: (row.at as Date).getTime(),
      delivery: row.delivery as string,
      webhook: row.webhook as WebhookId | undefined,
    }))
  }
}

/** Reads a list of the tenant, or the lists of its webhooks if there are few. */
const ofWebhooks =
  (webhooks: ReadonlySet<WebhookId> | undefined, ofTenant: ReadRows, ofWebhook: (webhook: WebhookId) => ReadRows): ReadRows =>
  async (day, range, chunk) => {
    if (webhooks === undefined || webhooks.size > maxLists) return ofTenant(day, range, chunk)
    const lists = await Promise.all([...webhooks].map((webhook) => ofWebhook(webhook)(day, range, chunk)))
    return lists.flat().sort(newerFirst).slice(0, chunk)
  }

/** Makes the readers of the lists. Each list has a partition for each day. */
function createListReaders(
  session: Session,
  { tables, kept, statesThat }: { tables: HistoryTables; kept: Retention; statesThat: StatesThat },
): Pick<DeliveryReads, 'history' | 'undelivered' | 'deadLetters' | 'deadLetterGroups'> {
  const listReader = createListReader(session)
  const byWebhook = listReader(tables.byWebhook, ['webhook'], 'accepted_at')
  const byStatus = listReader(tables.byStatus, ['webhook', 'status'], 'accepted_at')
  const undeliveredByTenant = listReader(tables.undeliveredByTenant, ['tenant', 'status'], 'accepted_at')
  const deadByTenant = listReader(tables.deadByTenant, ['tenant'], 'died_at')
  const deadByWebhook = listReader(tables.deadByWebhook, ['webhook'], 'died_at')

  const deadLetters = async ({ tenant, webhooks, limit, since, until, after, ...result }: DeadLettersQuery): Promise<Delivery[]> => {
    const wantedWebhooks = webhooks && new Set(webhooks)
    if (wantedWebhooks?.size === 0) return []
    return newestFirst({
      range: rangeOf({ since, until, after }, { oldest: kept.oldest() }),
      limit,
      read: ofWebhooks(
        wantedWebhooks,
        (...bounds) => deadByTenant([tenant], ...bounds),
        (webhook) =>
          (...bounds) =>
            deadByWebhook([webhook], ...bounds),
      ),
      check: (rows) =>
        statesThat(
          rows.filter((row) => wantedWebhooks === undefined || row.webhook === undefined || wantedWebhooks.has(row.webhook)),
          // The delivery may have been replayed and become a dead letter again. That second dead letter has its own row.
          (stored, row) =>
            stored.tenant === tenant &&
            stored.type === 'DeliveryDeadLettered' &&
            Date.parse(stored.time) === row.at &&
            hasResult(stored, result),
        ),
    })
  }

  return {
    history(webhook, { tenant, status, limit, since, until, after, ...result }) {
      return newestFirst({
        range: rangeOf({ since, until, after }, { oldest: kept.oldest() }),
        limit,
        read: (day, range, chunk) =>
          status === undefined ? byWebhook([webhook], day, range, chunk) : byStatus([webhook, status], day, range, chunk),
        check: (rows) =>
          statesThat(
            rows,
            (stored) =>
              stored.tenant === tenant &&
              stored.webhook === webhook &&
              (status ?? stored.status) === stored.status &&
              hasResult(stored, result),
          ),
      })
    },
    async undelivered({ tenant, status, webhooks, limit, since, until, after, ...result }) {
      const wantedWebhooks = webhooks && new Set(webhooks)
      if (wantedWebhooks?.size === 0) return []
      return newestFirst({
        range: rangeOf({ since, until, after }, { oldest: kept.oldest() }),
        limit,
        read: ofWebhooks(
          wantedWebhooks,
          (...bounds) => undeliveredByTenant([tenant, status], ...bounds),
          (webhook) =>
            (...bounds) =>
              byStatus([webhook, status], ...bounds),
        ),
        check: (rows) =>
          statesThat(
            rows.filter((row) => wantedWebhooks === undefined || row.webhook === undefined || wantedWebhooks.has(row.webhook)),
            (stored) => stored.tenant === tenant && stored.status === status && hasResult(stored, result),
          ),
      })
    },
    deadLetters,
    async deadLetterGroups(query) {
      const groups = Map.groupBy(await deadLetters(query), ({ webhook, event, code, reason }) =>
        JSON.stringify([webhook, event, code, reason]),
      )
      return [...groups.values()].map(groupOf).sort((a, b) => b.count - a.count || byText(b.last_at, a.last_at))
    },
  }
}

const hasResult = (stored: Delivery, { event, reason, code }: ResultFilter): boolean =>
  (event ?? stored.event) === stored.event && (reason ?? stored.reason) === stored.reason && (code ?? stored.code) === stored.code

/** Returns the group that these dead letters form. All have the same webhook, event and result. @param deadLetters the newest first */
function groupOf(deadLetters: readonly Delivery[]): DeadLetterGroup {
  const { webhook, event, code, reason, time, delivery } = deadLetters[0]!
  const accepted = deadLetters.map(({ accepted_at }) => accepted_at).sort(byText)
  return {
    ...{ webhook, event, code, reason, count: deadLetters.length, sample: delivery },
    ...{ first_at: deadLetters.at(-1)!.time, last_at: time, first_accepted_at: accepted[0]!, last_accepted_at: accepted.at(-1)! },
  }
}
