import { randomUUID } from 'node:crypto'
import type { Pool } from 'pg'
import { msPerDay } from '../lib/days.ts'
import { sqlOn } from '../lib/sql.ts'

/** The values that identify a request with an `Idempotency-Key`. */
export interface KeyedRequest {
  readonly tenant: string
  readonly caller: string
  readonly route: string
  readonly key: string
}
/** The right to carry out the request. `plan` contains the values that an earlier try has chosen, or is null. */
export interface Claim {
  readonly id: string
  readonly plan: Buffer | null
}
type ClaimResult =
  | { readonly kind: 'claimed'; readonly claim: Claim }
  /** The request was carried out before, and has a stored response. */
  | { readonly kind: 'done'; readonly response: Buffer }
  /** The key was used for another request. */
  | { readonly kind: 'other_request' }
  /** The same request is being carried out at this moment. */
  | { readonly kind: 'in_progress' }

/** The table `idempotency_keys`. A claim that expired or was released is taken over together with its plan. */
export interface IdempotencyKeys {
  claim(request: KeyedRequest, requestHmac: string): Promise<ClaimResult>
  /** Stores the plan. Returns false when another request has taken over the claim. */
  storePlan(request: KeyedRequest, claim: Claim, plan: Buffer): Promise<boolean>
  /** Stores the response, which repetitions of the request then get. */
  storeResponse(request: KeyedRequest, claim: Claim, response: Buffer): Promise<void>
  /** Deletes the row of a request that was refused and therefore stored nothing. */
  forget(request: KeyedRequest, claim: Claim): Promise<void>
  /** Ends the claim of a request whose outcome is unknown. The plan is kept, and the next try continues with it. */
  release(request: KeyedRequest, claim: Claim): Promise<void>
  /** Deletes expired rows and returns their number. */
  expire(): Promise<number>
}

interface Row {
  readonly request_hmac: string
  readonly claim: string
  readonly claimed_until: string
  readonly plan: Buffer | null
  readonly response: Buffer | null
}

const lifeMs = msPerDay
/**
 * The duration of a claim in milliseconds, which is longer than a request usually takes. If a request takes longer, its repetition may run at the same time. This does
 * no harm, because both have the same plan.
 */
const claimMs = 10_000

/** @param now returns milliseconds since 1970; clock skew between processes does no harm, because repetitions have the same plan */
export function createIdempotencyKeys(options: { pool: Pool; now(): number }): IdempotencyKeys {
  const { pool, now } = options
  const sql = sqlOn(pool)
  const timestampOf = (ms: number) => new Date(ms).toISOString()

  const insert = ({ tenant, caller, route, key }: KeyedRequest, hmac: string, claim: string) =>
    sql`insert into idempotency_keys as stored (tenant, caller, route, key, request_hmac, claim, claimed_until, expires_at)
        values (${tenant}, ${caller}, ${route}, ${key}, ${hmac}, ${claim}, ${timestampOf(now() + claimMs)}, ${timestampOf(now() + lifeMs)})
        on conflict (tenant, caller, route, key) do update set
          request_hmac = excluded.request_hmac, claim = excluded.claim, claimed_until = excluded.claimed_until,
          plan = null, answer = null, expires_at = excluded.expires_at
        where stored.expires_at <= ${timestampOf(now())}
        returning claim`
  const takeOver = ({ tenant, caller, route, key }: KeyedRequest, formerClaim: string, claim: string) =>
    sql<Pick<Row, 'plan'>>`
        update idempotency_keys set claim = ${claim}, claimed_until = ${timestampOf(now() + claimMs)}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${formerClaim} and answer is null
        returning plan`

  return {
    async claim(request, hmac) {
      const { tenant, caller, route, key } = request
      const id = randomUUID()
      for (;;) {
        if ((await insert(request, hmac, id)).length > 0) return { kind: 'claimed', claim: { id, plan: null } }
        const [row] = await sql<Row>`
          select request_hmac, claim, claimed_until, plan, answer as response from idempotency_keys
          where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key}`
        if (row === undefined) continue // The row was deleted between the two statements.
        if (row.request_hmac !== hmac) return { kind: 'other_request' }
        if (row.response !== null) return { kind: 'done', response: row.response }
        if (Date.parse(row.claimed_until) > now()) return { kind: 'in_progress' }
        const [takenOver] = await takeOver(request, row.claim, id)
        if (takenOver !== undefined) return { kind: 'claimed', claim: { id, plan: takenOver.plan } }
      }
    },
    async storePlan({ tenant, caller, route, key }, claim, plan) {
      const updated = await sql`
        update idempotency_keys set plan = ${plan}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id} and answer is null
        returning key`
      return updated.length > 0
    },
    async storeResponse({ tenant, caller, route, key }, claim, response) {
      await sql`
        update idempotency_keys set answer = ${response}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id} and answer is null`
    },
    async forget({ tenant, caller, route, key }, claim) {
      await sql`
        delete from idempotency_keys
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id} and answer is null`
    },
    async release({ tenant, caller, route, key }, claim) {
      await sql`
        update idempotency_keys set claimed_until = ${timestampOf(now())}
        where tenant = ${tenant} and caller = ${caller} and route = ${route} and key = ${key} and claim = ${claim.id}`
    },
    async expire() {
      const deleted = await sql`delete from idempotency_keys where expires_at <= ${timestampOf(now())} returning key`
      return deleted.length
    },
  }
}
