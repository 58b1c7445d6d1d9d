import type { IncomingMessage } from 'node:http'
import { isObject } from '../../lib/is-object.ts'
import { type ClientOfTenant, findGenuineClient } from '../../projections/clients.ts'
import type { Credentials } from '../credentials.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError } from '../errors.ts'
import type { FailedCredentials } from '../failed-credentials.ts'
import { parseJson, readBody, requireMediaType } from '../request-body.ts'
import { findAuthenticatedClient } from '../routes/auth.ts'
import type { SessionCredential, Sessions } from './sessions.ts'
import { createStartCodes } from './start-codes.ts'

interface SignInDependencies extends Pick<ApiDependencies, 'pool' | 'keyring' | 'settings' | 'now' | 'log'> {
  readonly failedCredentials: FailedCredentials
  readonly credentials: Credentials
  readonly sessions: Sessions
  /** Returns the caller's address, as the trusted proxies report it. */
  addressOf(req: IncomingMessage): string
}

const bodyLimit = 4_096

/**
 * Returns the function that carries out `POST /ui/session`. The body holds `client_id` and `client_secret`, or `key`, or the code of a start link as
 * `start`. The function returns the header `set-cookie`, or throws the error for the person who signs in.
 */
export function createSignIn(deps: SignInDependencies): (req: IncomingMessage) => Promise<string> {
  const { pool, failedCredentials, credentials, sessions, addressOf } = deps
  const startCodes = createStartCodes(pool)

  const redeem = async (code: string, address: string): Promise<ClientOfTenant> => {
    await failedCredentials.guard(address)
    const id = await startCodes.redeem(code)
    const client = id === null ? null : await findGenuineClient(deps, id)
    if (client !== null && !client.revoked) return client
    await failedCredentials.count(address)
    throw new ApiError(
      'unauthorized',
      'The link was used already, or is older than ten minutes. Sign in with the id and the secret of a client, or start Kolbak again in a terminal (npm start), which prints a new link.',
    )
  }
  const credentialOf = async (body: Readonly<Record<string, unknown>>, address: string): Promise<SessionCredential> => {
    const { client_id: id, client_secret: secret, key, start } = body
    if (typeof key === 'string') {
      await credentials.identify({ 'x-api-key': key }, 'bearer-or-key', () => address)
      return { kind: 'key', key }
    }
    const client =
      typeof start === 'string'
        ? await redeem(start, address)
        : typeof id === 'string' && typeof secret === 'string'
          ? await findAuthenticatedClient(deps, failedCredentials, { id, secrets: [secret] }, address)
          : null
    if (client === null) throw new ApiError('unauthorized', 'The client does not exist, or its secret is wrong.')
    if (client.tenant_suspended) throw new ApiError('tenant_suspended', 'This account is suspended: nothing is accepted for it.')
    return { kind: 'client', client_id: client.client_id, generation: client.generation, scopes: client.scopes }
  }
  return async (req) => {
    requireMediaType(req.headers, ['application/json'])
    const body = parseJson(await readBody(req, bodyLimit))
    if (!isObject(body)) throw new ApiError('invalid_request', 'The body must be an object.')
    const cookie = sessions.begin(await credentialOf(body, addressOf(req)), req.headers)
    if (cookie === null)
      throw new ApiError(
        'invalid_request',
        'Signing in over plain HTTP works only on this machine. Use https, or an SSH tunnel: ssh -L 3000:localhost:3000 <host>.',
      )
    return cookie
  }
}
