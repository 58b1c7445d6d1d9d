import { useState } from 'preact/hooks'
import type { Attempt, Envelope, SentRequest } from '../../../api/responses.ts'
import { useQuery } from '../../lib/query.ts'
import { can } from '../../lib/session.ts'
import { quoted } from '../../lib/shell-text.ts'
import { verifySignature } from '../../lib/signature.ts'
import { Field, onSubmit } from '../../parts/form.tsx'
import { JsonView } from '../../parts/json-view.tsx'
import { Loaded, Note } from '../../parts/messages.tsx'
import { Code, Copy } from '../../parts/text.tsx'

/** The request of an attempt, byte for byte as it was sent. */
export function RequestView({ path, attempt }: { path: string; attempt: Attempt }) {
  const signed = can('write:webhooks') ? '&signed=true' : ''
  const query = useQuery<Envelope<SentRequest>>(`${path}/request?chain=${attempt.chain}&attempt=${attempt.number}${signed}`)
  return (
    <section class="panel" aria-label="Request">
      <h3>Request</h3>
      <Loaded query={query}>{({ data }) => <Request request={data} />}</Loaded>
    </section>
  )
}

function Request({ request }: { request: SentRequest }) {
  const { url, headers, body, webhook_revision: revision, is_certain: isCertain, present_revision: present } = request
  const head = [`POST ${url}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)].join('\n')
  return (
    <>
      <p class="faint">
        The webhook was at revision {revision}
        {present === null ? ', and is deleted now' : present === revision ? ', as it is today' : `, and is at revision ${present} today`}.
        {!isCertain && ' The webhook changed just before the attempt, so this may be one revision too new.'}
      </p>
      <Code text={head} label="the headers of the request" />
      {body === null ? (
        <Note>
          <p>The payload has expired, so the body can no longer be shown.</p>
        </Note>
      ) : (
        <JsonView text={body} label="the body of the request" />
      )}
      {body !== null && (
        <div class="row">
          <Copy text={curlOf(request, body)} label="Copy as curl" />
        </div>
      )}
      {body !== null && headers['webhook-signature'] !== undefined && <Verify headers={headers} body={body} />}
    </>
  )
}

const curlOf = ({ url, headers }: SentRequest, body: string): string =>
  [
    `curl -sS ${quoted(url)}`,
    ...Object.entries(headers)
      .filter(([name]) => !/^(host|content-length|connection)$/i.test(name))
      .map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)}`),
    `  --data-binary ${quoted(body)}`,
  ].join(' \\\n')

/** Checks the signature with a secret that a person enters. The secret is neither sent nor stored. */
function Verify({ headers, body }: { headers: Readonly<Record<string, string>>; body: string }) {
  const [result, setResult] = useState<'right' | 'wrong' | 'no_secret' | null>(null)
  const verify = async ({ secret = '' }: Record<string, string>) => {
    const { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': signatures = '' } = headers
    const isRight = await verifySignature(secret, { id, timestamp, body, signatures })
    setResult(isRight === null ? 'no_secret' : isRight ? 'right' : 'wrong')
  }
  return (
    <details class="curl">
      <summary>Verify the signature with your secret</summary>
      <form class="stack" onSubmit={onSubmit(verify)}>
        <Field
          label="Secret"
          name="secret"
          type="password"
          required
          hint="It stays in this browser: the check runs here, and nothing is sent."
        />
        <div class="row">
          <button type="submit">Verify</button>
        </div>
        {result === 'right' && <Note tone="good">The signature is right for this secret.</Note>}
        {result === 'wrong' && (
          <Note tone="warn">The signature was made with another secret: the one that the webhook had at the time of the attempt.</Note>
        )}
        {result === 'no_secret' && <Note tone="warn">This is not a secret. It begins with whsec_ and continues in base64.</Note>}
      </form>
    </details>
  )
}
