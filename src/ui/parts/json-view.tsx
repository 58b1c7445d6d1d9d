import { useState } from 'preact/hooks'
import { prettyTokens, tokensOf } from '../lib/json-text.ts'
import { Code, Copy, Foreign } from './text.tsx'

/** Above this length, a text is shown without colours, so that the page stays quick. */
const maxColoured = 200_000

/** Shows JSON exactly as it was sent, or with line breaks. A text that is not JSON is shown as it is. */
export function JsonView({ text, label }: { text: string; label: string }) {
  const [isRaw, setRaw] = useState(false)
  const tokens = text.length > maxColoured ? null : tokensOf(text)
  if (tokens === null) return <Code text={text} label={label} />
  const shown = isRaw ? tokens : prettyTokens(tokens)
  return (
    <div class="code">
      <div class="row">
        <button type="button" class="quiet" onClick={() => setRaw(!isRaw)}>
          {isRaw ? 'Show line breaks' : 'Show exact bytes'}
        </button>
        <Copy text={text} what={label} />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a block that scrolls must be reachable by keyboard */}
      <section class="scroll" tabIndex={0} aria-label={label}>
        <pre class={isRaw ? 'wrap' : undefined}>
          {shown.map((token) =>
            token.kind === 'space' || token.kind === 'mark' ? (
              token.text
            ) : (
              <span class={`json-${token.kind}`}>
                <Foreign text={token.text} />
              </span>
            ),
          )}
        </pre>
      </section>
    </div>
  )
}
