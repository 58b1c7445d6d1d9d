import { commandName } from './command-name.ts'
import { type Session, searchOf } from './session.ts'
import { countOf, type Row, rowOf, rowsOf, textOf } from './text.ts'

/** The words for each status of an event's deliveries. The statuses that need attention come first. */
const outcomes = [
  ['failed', 'given up at'],
  ['retrying', 'failing at'],
  ['pending', 'on its way to'],
  ['success', 'delivered to'],
  ['discarded', 'discarded for'],
] as const

/** Returns a phrase about the deliveries of an event, such as `failing at 1, delivered to 2`. */
export function outcomeOf({ status, deliveries }: Row): string {
  if (status === 'unmatched') return 'no webhook matched'
  if (deliveries === null) return 'matched more than 100 webhooks'
  const counts = rowOf(deliveries)
  const parts = outcomes.flatMap(([name, words]) => (Number(counts[name] ?? 0) > 0 ? [`${words} ${textOf(counts[name])}`] : []))
  return parts.length === 0 ? 'matched, and not yet recorded' : parts.join(', ')
}
/** Returns a conspicuous phrase if other content was posted under the id of an event, or else undefined. */
export function rejectionOf({ rejections, has_rejections }: Row): string | undefined {
  if (has_rejections !== true) return undefined
  const times = rowsOf(rejections).map(({ accepted_at }) => textOf(accepted_at))
  return `ID USED AGAIN: other content was posted under this id${times.length === 0 ? '' : ` ${countOf(times.length, 'time')} (${times.slice(0, 3).join(', ')}${times.length > 3 ? ', ...' : ''})`}, and was rejected`
}
/** Returns a phrase about the state of one delivery. */
export function deliveryState({ status, attempt_count, next_attempt_at, last_reason, last_response_code }: Row): string {
  const attempts = countOf(Number(attempt_count), 'attempt')
  const cause = textOf(last_reason ?? last_response_code)
  switch (status) {
    case 'success':
      return `delivered after ${attempts}`
    case 'retrying':
      return `failing after ${attempts} (${cause})${next_attempt_at === null ? '' : `; the next one is at ${textOf(next_attempt_at)}`}`
    case 'failed':
      return `given up after ${attempts} (${cause}); ${commandName} replay sends it again`
    case 'pending':
      return 'on its way'
    default:
      return `discarded (${cause})`
  }
}

/** Returns the callback URLs of webhooks. A webhook that was deleted, or that the caller may not see, is named by its id. */
export async function urlsOf(session: Session, webhooks: readonly unknown[]): Promise<(webhook: unknown) => string> {
  const ids = [...new Set(webhooks.map(textOf))]
  const urls = new Map<string, string>()
  try {
    for (let i = 0; i < ids.length; i += 100) {
      const { data } = await session.call('GET', `/v1/webhooks${searchOf({ ids: ids.slice(i, i + 100).join(','), limit: 100 })}`)
      for (const { id, callback_url } of rowsOf(data)) urls.set(textOf(id), textOf(callback_url))
    }
  } catch {
    return (webhook) => `webhook ${textOf(webhook)}` // a client without the scope read:webhooks sees ids instead of URLs
  }
  return (webhook) => urls.get(textOf(webhook)) ?? `deleted webhook ${textOf(webhook)}`
}

/** Returns the attempts of a delivery as lines. */
export const attemptLines = (delivery: Row): string[] =>
  rowsOf(delivery.attempts).flatMap(({ at, chain, number, status, response_code, reason, reason_detail, duration_ms }) => {
    const replay = Number(chain) > 1 ? `replay ${Number(chain) - 1}, ` : ''
    const result = textOf(response_code ?? reason)
    return [
      `    ${textOf(at)}  ${replay}attempt ${textOf(number)}  ${textOf(status)} ${result}  ${textOf(duration_ms)} ms`,
      ...(typeof reason_detail === 'string' ? [`      ${reason_detail}`] : []),
    ]
  })
