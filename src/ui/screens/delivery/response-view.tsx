import { tokensOf } from '../../lib/json-text.ts'
import { reasonText } from '../../lib/reasons.ts'
import { durationText } from '../../lib/time.ts'
import type { Attempt } from '../../lib/types.ts'
import { JsonView } from '../../parts/json-view.tsx'
import { Facts } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Code, Foreign } from '../../parts/text.tsx'

/** What the receiver responded in an attempt, or why there was no response. */
export function ResponseView({ attempt }: { attempt: Attempt }) {
  const { response_code: code, response_body: body, reason, reason_detail: detail } = attempt
  const sentence = reasonText(reason, code)
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
          attempt.duration_ms === null ? null : ['Time to the status', durationText(attempt.duration_ms)],
        ]}
      />
      {sentence !== null && <p>{sentence}</p>}
      {detail !== null && (
        <p class="soft">
          <Foreign text={detail} />
        </p>
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
