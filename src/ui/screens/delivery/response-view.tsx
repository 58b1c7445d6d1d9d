import type { Attempt, TimelineAttempt } from '../../../api/responses.ts'
import { tokensOf } from '../../lib/json-text.ts'
import { reasonText } from '../../lib/reasons.ts'
import { durationText } from '../../lib/time.ts'
import { JsonView } from '../../parts/json-view.tsx'
import { Facts } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Code, Foreign } from '../../parts/text.tsx'

/** Shows the response of the receiver to an attempt, or the reason why there was none. */
export function ResponseView({ attempt, recorded = null }: { attempt: Attempt; recorded?: TimelineAttempt | null }) {
  const { response_code: code, response_body: body, reason, reason_detail: detail } = attempt
  const sentence = reasonText(reason, code)
  const headers = recorded?.response_headers ?? null
  return (
    <section class="panel" aria-label="Response">
      <h3>Response</h3>
      <Facts
        facts={[
          [
            'Result',
            attempt.status === 'success' ? (
              <Status tone="good" icon="check" word={`delivered${code === null ? '' : `, status ${code}`}`} />
            ) : (
              <Status tone="bad" icon="cross" word={code === null ? (reason ?? 'failed').replaceAll('_', ' ') : `status ${code}`} />
            ),
          ],
          attempt.duration_ms === null ? null : ['Response time', durationText(attempt.duration_ms)],
          ...stepsOf(recorded),
        ]}
      />
      {sentence !== null && <p>{sentence}</p>}
      {detail !== null && (
        <p class="soft">
          <Foreign text={detail} />
        </p>
      )}
      {headers !== null && (
        <Code
          text={Object.entries(headers)
            .map(([name, value]) => `${name}: ${value}`)
            .join('\n')}
          label="the headers of the response"
        />
      )}
      {body === null ? (
        <p class="soft">{code === null ? 'No response came.' : 'The response had no body.'}</p>
      ) : tokensOf(body) === null ? (
        <Code text={body} label="the body of the response" />
      ) : (
        <JsonView text={body} label="the body of the response" />
      )}
      {attempt.response_truncated && <p class="faint">Kolbak keeps the first 4 KiB of a response. This one was longer.</p>}
    </section>
  )
}

/** Returns the steps of a request on a new connection, as facts. */
function stepsOf(recorded: TimelineAttempt | null): [string, string][] {
  if (recorded === null || recorded.timings === null) return []
  const { dns_ms: dns, connect_ms: connect, tls_ms: tls, first_byte_ms: firstByte } = recorded.timings
  const steps = [
    ['name', dns],
    ['connection', connect],
    ['TLS', tls],
    ['first byte', firstByte],
  ] as const
  const texts = steps.flatMap(([step, ms]) => (ms === null ? [] : [`${step} ${durationText(ms)}`]))
  return [['On a new connection', texts.join(', ')]]
}
