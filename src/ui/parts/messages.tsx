import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Failure } from '../lib/api.ts'
import type { Query } from '../lib/query.ts'
import { Icon } from './icon.tsx'
import { Copy, Id } from './text.tsx'

/** Says what went wrong and what to do. */
export function Failed({ failure, retry }: { failure: Failure; retry?: () => void }) {
  const [secondsLeft, setSecondsLeft] = useState(failure.retryAfter)
  useEffect(() => {
    setSecondsLeft(failure.retryAfter)
    const timer = setInterval(() => setSecondsLeft((left) => (left === null || left <= 0 ? null : left - 1)), 1_000)
    return () => clearInterval(timer)
  }, [failure])
  return (
    <div class="message bad" role="alert">
      <Icon name="warn" />
      <div>
        <p>
          <strong>{failure.status === 403 ? 'Not allowed. ' : failure.status === 404 ? 'Not found. ' : ''}</strong>
          {failure.message}
        </p>
        {failure.details.length > 0 && (
          <ul>
            {failure.details.map(({ path, message }) => (
              <li key={path}>
                <code>{path}</code> {message}
              </li>
            ))}
          </ul>
        )}
        <div class="row">
          {retry !== undefined && (
            <button type="button" onClick={retry} disabled={secondsLeft !== null && secondsLeft > 0}>
              {secondsLeft !== null && secondsLeft > 0 ? `Try again in ${secondsLeft} s` : 'Try again'}
            </button>
          )}
          {failure.requestId !== '' && (
            <span class="faint">
              Request <Id id={failure.requestId} /> <Copy text={failure.requestId} what="the request id" />
            </span>
          )}
        </div>
      </div>
    </div>
  )
}

export const Note = ({ tone = 'calm', children }: { tone?: 'calm' | 'warn' | 'good'; children: ComponentChildren }) => (
  <div class={`message ${tone}`} role="status">
    <Icon name={tone === 'warn' ? 'warn' : tone === 'good' ? 'check' : 'problem'} />
    <div>{children}</div>
  </div>
)

/** Says why there is nothing, and what fills the place. */
export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <h2>{title}</h2>
    {children}
  </div>
)

/** Shows the data of a read, or that it is under way, or why it failed. Former data stay visible. */
export function Loaded<T>({ query, children }: { query: Query<T>; children: (body: T) => ComponentChildren }) {
  const { reply, failure, isLoading, refresh } = query
  return (
    <>
      {failure !== null && <Failed failure={failure} retry={refresh} />}
      {reply !== null ? (
        children(reply.body)
      ) : isLoading ? (
        <div class="loading" aria-busy="true">
          <span class="visually-hidden">Loading</span>
          <i />
          <i />
          <i />
        </div>
      ) : null}
    </>
  )
}
