import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { ApiError, problemOf } from './errors.ts'
import type { Claim, IdempotencyKeys, KeyedRequest } from './idempotency-keys.ts'
import type { Identity, RawRequest, Route, RouteResult } from './route.ts'

/** Visible ASCII: what the IETF draft (draft-ietf-httpapi-idempotency-key-header-07) quotes, and what others send bare. */
const keyPattern = /^[\x21-\x7e]{1,255}$/

/**
 * Routes that take `Idempotency-Key`: for a day the same request of the same caller gets the very same answer, its secret
 * included, and whatever it made is made once.
 *
 * The handler chooses ids and secrets by `plan`, which is kept before anything is stored under them. So when a process dies
 * between its append and its answer, the next request appends under the same ids, which appends nothing, and answers the same.
 */
export function idempotent(deps: { keys: IdempotencyKeys; keyring: Keyring; log: Log }): (route: Route) => Route {
  const { keys, keyring, log } = deps
  const aad = ({ tenant, caller, route, key }: KeyedRequest, what: 'plan' | 'answer') => ['idempotency', tenant, caller, route, key, what]

  /** What must be the same again. Scopes are part of it: an answer may hold what a lesser token must not see. */
  const hmacOf = ({ params, search, rawBody }: RawRequest, { caller }: Identity) =>
    keyring.lookup(
      'idempotency',
      JSON.stringify([Object.entries(params), search.toString(), [...caller.scopes].sort(), rawBody.toString('base64')]),
    )
  const carryOut = async (route: Route, raw: RawRequest, request: KeyedRequest, claim: Claim): Promise<RouteResult> => {
    const vault = await keyring.vault(request.tenant)
    const answer = await route.run({
      ...raw,
      async plan<T>(make: () => T): Promise<T> {
        if (claim.plan !== null) return JSON.parse(vault.open(aad(request, 'plan'), claim.plan).toString()) as T // as it was written below
        const made = make()
        const isKept = await keys.plan(request, claim, vault.seal(aad(request, 'plan'), Buffer.from(JSON.stringify(made))))
        if (!isKept) throw underWay()
        return made
      },
    })
    await keys.answer(request, claim, vault.seal(aad(request, 'answer'), Buffer.from(JSON.stringify(answer))))
    return answer
  }
  /** What was refused stored nothing, and may be sent again otherwise; of what failed nobody knows. */
  const letGo = async (request: KeyedRequest, claim: Claim, failure: unknown) => {
    try {
      if (problemOf(failure).status < 500) await keys.forget(request, claim)
      else await keys.release(request, claim)
    } catch (error) {
      // The claim runs out by itself; what is told to the caller is the first failure.
      log.warn({ error, route: request.route }, 'idempotency.release_failed')
    }
  }
  return (route) => ({
    ...route,
    async run(raw) {
      const key = raw.headers['idempotency-key']
      if (key === undefined || raw.identity === null) return route.run(raw)
      if (typeof key !== 'string' || !keyPattern.test(key))
        throw new ApiError('invalid_request', 'Idempotency-Key must be 1-255 visible ASCII characters.')
      const { tenant, actor } = raw.identity.caller
      const request = { tenant, caller: actor, route: route.operationId, key }
      const begun = await keys.begin(request, hmacOf(raw, raw.identity))
      switch (begun.kind) {
        case 'other_request':
          throw new ApiError('idempotency_key_reused', 'This Idempotency-Key was sent with another request: take a new one for this.')
        case 'under_way':
          throw underWay()
        case 'answered': {
          const vault = await keyring.vault(tenant)
          return JSON.parse(vault.open(aad(request, 'answer'), begun.answer).toString()) as RouteResult
        }
        case 'claimed':
          try {
            return await carryOut(route, raw, request, begun.claim)
          } catch (error) {
            await letGo(request, begun.claim, error)
            throw error
          }
      }
    },
  })
}

const underWay = () =>
  new ApiError('idempotency_key_in_use', 'The same request is under way: its answer can be had by sending it again in a moment.', {
    headers: { 'retry-after': '1' },
  })
