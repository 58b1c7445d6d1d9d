import { signal } from '@preact/signals'
import type { Envelope, Me } from '../../api/responses.ts'
import { type Failure, isSignedIn, Failure as RequestFailure, send } from './api.ts'
import { forgetReplies } from './query.ts'

/** The person or program that is signed in, or null before that is known. */
export const me = signal<Me | null>(null)
/** Why the start link or the first read failed, or null. */
export const startFailure = signal<Failure | null>(null)
export const can = (scope: string): boolean => me.value?.scopes.includes(scope) === true

async function readMe(): Promise<void> {
  const { body } = await send<Envelope<Me>>('GET', '/v1/me')
  me.value = body.data
  isSignedIn.value = true
}
/** Signs in with credentials or the code of a start link. Throws a Failure. */
export async function signIn(credential: Readonly<Record<string, string>>): Promise<void> {
  await send('POST', '/ui/session', { body: credential })
  forgetReplies()
  await readMe()
}
export async function signOut(): Promise<void> {
  await send('DELETE', '/ui/session')
  forgetReplies()
  me.value = null
  isSignedIn.value = false
}

/** Uses the code of a start link, if the URL has one, and finds out whether there is a session. */
export async function startSession(): Promise<void> {
  const code = /^#start=([\w-]+)$/.exec(location.hash)?.[1]
  if (code !== undefined) history.replaceState(null, '', location.pathname + location.search) // the code must not stay in the history
  try {
    startFailure.value = null
    await (code === undefined ? readMe() : signIn({ start: code }).catch((error: unknown) => orSession(error)))
  } catch (error) {
    if (!(error instanceof RequestFailure)) throw error
    if (error.status === 401) isSignedIn.value = false
    else startFailure.value = error
  }
}
/** A link that was used already is no problem if it was used in this browser. */
async function orSession(error: unknown): Promise<void> {
  await readMe().catch(() => {
    isSignedIn.value = false
    startFailure.value = error instanceof RequestFailure ? error : null
  })
}
