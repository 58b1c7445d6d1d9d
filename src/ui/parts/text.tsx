import { useState } from 'preact/hooks'
import { relativeText, timeText, zoneText } from '../lib/time.ts'
import { Icon } from './icon.tsx'

/** Shows a time as its distance from now, or as a date with a clock. The other form is in the tooltip. */
export const Time = ({ at, isExact = false, withMs = false }: { at: string; isExact?: boolean; withMs?: boolean }) => (
  <time dateTime={at} title={`${isExact ? `${relativeText(at)}, ` : ''}${timeText(at, { withMs: true })} ${zoneText(at)}`}>
    {isExact ? timeText(at, { withMs }) : relativeText(at)}
  </time>
)

/** Characters that change the direction of text or are invisible. A receiver could use them to make its text look like a different text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is looked for
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/
/** Shows a text that a receiver, a producer or another person wrote. Hidden characters appear as their codes. */
export function Foreign({ text }: { text: string }) {
  const parts: (string | { readonly code: string })[] = []
  let plain = ''
  for (const character of text) {
    if (!hidden.test(character) || character.length > 1) plain += character
    else {
      parts.push(plain, { code: `U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}` })
      plain = ''
    }
  }
  parts.push(plain)
  return <>{parts.map((part) => (typeof part === 'string' ? part : <span class="chip">{part.code}</span>))}</>
}

/** Shows a name or a URL, which the browser breaks after a dot or a slash before it breaks a word. */
export const Breakable = ({ text }: { text: string }) =>
  text.split(/(?<=[./?&_-])(?=[A-Za-z])/).map((part, i) => (
    <>
      {i > 0 && <wbr />}
      <Foreign text={part} />
    </>
  ))

/** A button that copies a text. */
export function Copy({ text, label = 'Copy', what }: { text: string; label?: string; what?: string }) {
  const [state, setState] = useState<'idle' | 'copied' | 'failed'>('idle')
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(
      () => setState('copied'),
      () => setState('failed'),
    )
    setTimeout(() => setState('idle'), 2_000)
  }
  const word = state === 'copied' ? 'Copied' : state === 'failed' ? 'Not allowed here' : label
  return (
    <button type="button" class="quiet" onClick={copy} aria-label={what === undefined || state !== 'idle' ? undefined : `${label} ${what}`}>
      <Icon name={state === 'copied' ? 'check' : 'copy'} />
      <span aria-live="polite">{word}</span>
    </button>
  )
}

/** A block of code or of bytes, with a button that copies it. It scrolls inside itself. */
export const Code = ({ text, label }: { text: string; label: string }) => (
  <div class="code">
    <Copy text={text} what={label} />
    {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a block that scrolls must be reachable by keyboard */}
    <section class="scroll" tabIndex={0} aria-label={label}>
      <pre>
        <Foreign text={text} />
      </pre>
    </section>
  </div>
)

/** The length of the ids that Kolbak gives. On a wide screen they stand on one line. */
const ulidLength = 26
/** An id, which is long, in a font that tells its characters apart. */
export const Id = ({ id }: { id: string }) => <code class={id.length <= ulidLength ? 'id short' : 'id'}>{id}</code>
