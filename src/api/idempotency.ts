import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'
import { ApiError, problemOf } from './errors.ts'
import type { Claim, IdempotencyKeys, KeyedRequest } from './idempotency-keys.ts'
import type { Identity } from './identity.ts'
import type { RawRequest, Route, RouteResult } from './route.ts'

/** A key consists of visible ASCII. In the IETF draft (draft-ietf-httpapi-idempotency-key-header-07) the key has quotes, but most clients send it without. */
const keyPattern = /^[\x21-\x7e]{1,255}$/

/**
 * Adds `Idempotency-Key` to a route: for a day, the same request of the same caller gets the same response, including its
 * secrets, and is carried out only once.
 *
 * The handler chooses ids and secrets with `plan`, which stores them before they are used. If a process dies between its append and its response, the
 * repeated request appends the same ids, which changes nothing, and gets the same response.
 */
export function createIdempotency(deps: { keys: IdempotencyKeys; keyring: Keyring; log: Log }): (route: Route) => Route {
  const { keys, keyring, log } = deps
  // The word `answer` (the response) is part of stored values and must not change.
  const aad = ({ tenant, caller, route, key }: KeyedRequest, field: 'plan' | 'answer') => ['idempotency', tenant, caller, route, key, field]

  /**
   * Returns an HMAC of everything that must be the same in a repetition. It includes the scopes, because a response may contain
   * values that a token with fewer scopes must not see.
   */
  const hmacOf = ({ params, search, rawBody }: RawRequest, { caller }: Identity) =>
    keyring.lookup(
      'idempotency',
      JSON.stringify([Object.entries(params), search.toString(), [...caller.scopes].sort(), rawBody.toString('base64')]),
    )
  const carryOut = async (route: Route, raw: RawRequest, request: KeyedRequest, claim: Claim): Promise<RouteResult> => {
    const vault = await keyring.vault(request.tenant)
    const result = await route.run({
      ...raw,
      async plan<T>(choose: () => T): Promise<T> {
        // The stored plan is the JSON that the code below has written, so it has the type T.
        if (claim.plan !== null) return JSON.parse(vault.open(aad(request, 'plan'), claim.plan).toString()) as T
        const chosen = choose()
        const isStored = await keys.storePlan(request, claim, vault.seal(aad(request, 'plan'), Buffer.from(JSON.stringify(chosen))))
        if (!isStored) throw underWay()
        return chosen
      },
    })
    await keys.storeResponse(request, claim, vault.seal(aad(request, 'answer'), Buffer.from(JSON.stringify(result))))
    return result
  }
  /**
   * Ends the claim after an error. A refused request has stored nothing, so its row is deleted. If a request has failed, it is unknown whether it has
   * stored something, so its plan is kept.
   */
  const endClaim = async (request: KeyedRequest, claim: Claim, failure: unknown) => {
    try {
      if (problemOf(failure).status < 500) await keys.forget(request, claim)
      else await keys.release(request, claim)
    } catch (error) {
      // The claim expires by itself, so this error is only logged. The caller gets the first error.
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
      const result = await keys.claim(request, hmacOf(raw, raw.identity))
      switch (result.kind) {
        case 'other_request':
          throw new ApiError('idempotency_key_reused', 'This Idempotency-Key was sent with another request: use a new key for this one.')
        case 'in_progress':
          throw underWay()
        case 'done': {
          const vault = await keyring.vault(tenant)
          return JSON.parse(vault.open(aad(request, 'answer'), result.response).toString()) as RouteResult
        }
        case 'claimed':
          try {
            return await carryOut(route, raw, request, result.claim)
          } catch (error) {
            await endClaim(request, result.claim, error)
            throw error
          }
      }
    },
  })
}

const underWay = () =>
  new ApiError('idempotency_key_in_use', 'The same request is being carried out: send it again in a moment to get its response.', {
    headers: { 'retry-after': '1' },
  })
