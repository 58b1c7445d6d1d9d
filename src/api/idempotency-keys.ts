import { randomUUID } from 'node:crypto'
import type { Pool } from 'pg'
import { sqlOn } from '../lib/sql.ts'

/** What a caller named by an `Idempotency-Key`. */
export interface KeyedRequest {
  readonly tenant: string
  readonly caller: string
  readonly route: string
  readonly key: string
}
/** The right to carry the request out: `plan` is what an earlier try had chosen, if it came that far. */
export interface Claim {
  readonly id: string
  readonly plan: Buffer | null
}
export type Begun =
  | { readonly kind: 'claimed'; readonly claim: Claim }
  | { readonly kind: 'answered'; readonly answer: Buffer }
  | { readonly kind: 'other_request' }
  /** Another request carries it out. */
  | { readonly kind: 'under_way' }

/** The table `idempotency_keys`. A claim that has run out, or was given back, is taken over together with its plan. */
export interface IdempotencyKeys {
  begin(request: KeyedRequest, requestHmac: string): Promise<Begun>
  /** Keeps what was chosen; false when another request has taken the claim over. */
  plan(request: KeyedRequest, claim: Claim, plan: Buffer): Promise<boolean>
  answer(request: KeyedRequest, claim: Claim, answer: Buffer): Promise<void>
  /** Nothing was stored, and nothing is remembered. */
  forget(request: KeyedRequest, claim: Claim): Promise<void>
  /** What came of it is unknown: the next request goes on with the same plan. */
  release(request: KeyedRequest, claim: Claim): Promise<void>
  /** Drops what has expired; answers how many. */
  expire(): Promise<number>
}

interface Row {
  readonly request_hmac: string
  readonly claim: string
  readonly claimed_until: string
  readonly plan: Buffer | null
  readonly answer: Buffer | null
}

const lifeMs = 86_400_000
/** Longer than a request takes; one that takes longer still does no harm, since both have the same plan. */
const claimMs = 10_000

/** @param now milliseconds; skew between processes does no harm, for the same reason */
export function createIdempotencyKeys(options: { pool: Pool; now(): number }): IdempotencyKeys {
  const { pool, now } = options
  const sql = sqlOn(pool)
  const at = (ms: number) => new Date(ms).toISOString()

  const insert = ({ tenant, caller, route, key }: KeyedRequest, hmac: string, claim: string) =>
    sql`insert into idempotency_keys as mine (tenant, caller, route, key, request_hmac, claim, claimed_until, expires_at)
        values (${tenant}, ${caller}, ${route}, ${key}, ${hmac}, ${claim}, ${at(now() + claimMs)}, ${at(now() + lifeMs)})
        on conflict (tenant, caller, route, key) do update set
          request_hmac = excluded.request_hmac, claim = excluded.claim, claimed_until = excluded.claimed_until,
          plan = null, answer = null, expires_at = excluded.expires_at
        where mine.expires_at <= ${at(now())}
        returning claim`
  const takeOver = ({ tenant, caller, route, key }: KeyedRequest, former: string, claim: string) =>
    sql<Pick<Row, 'plan'>>`
        update idempotency_keys set claim = ${claim}, claimed_until = ${at(now() + claimMs)}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${former} and answer is null
        returning plan`

  return {
    async begin(request, hmac) {
      const { tenant, caller, route, key } = request
      const id = randomUUID()
      for (;;) {
        if ((await insert(request, hmac, id)).length > 0) return { kind: 'claimed', claim: { id, plan: null } }
        const [row] = await sql<Row>`
          select request_hmac, claim, claimed_until, plan, answer from idempotency_keys
          where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key}`
        if (row === undefined) continue // forgotten meanwhile
        if (row.request_hmac !== hmac) return { kind: 'other_request' }
        if (row.answer !== null) return { kind: 'answered', answer: row.answer }
        if (Date.parse(row.claimed_until) > now()) return { kind: 'under_way' }
        const [taken] = await takeOver(request, row.claim, id)
        if (taken !== undefined) return { kind: 'claimed', claim: { id, plan: taken.plan } }
      }
    },
    async plan({ tenant, caller, route, key }, claim, plan) {
      const kept = await sql`
        update idempotency_keys set plan = ${plan}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id} and answer is null
        returning key`
      return kept.length > 0
    },
    async answer({ tenant, caller, route, key }, claim, answer) {
      await sql`
        update idempotency_keys set answer = ${answer}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id} and answer is null`
    },
    async forget({ tenant, caller, route, key }, claim) {
      await sql`
        delete from idempotency_keys
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id} and answer is null`
    },
    async release({ tenant, caller, route, key }, claim) {
      await sql`
        update idempotency_keys set claimed_until = ${at(now())}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id}`
    },
    async expire() {
      const gone = await sql`delete from idempotency_keys where expires_at <= ${at(now())} returning key`
      return gone.length
    },
  }
}
