/** A piece of JSON text with its kind. The pieces of a text, joined, are the text. */
export interface Token {
  readonly kind: 'key' | 'string' | 'number' | 'word' | 'mark' | 'space'
  readonly text: string
}
const tokenPattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b|([{}[\],:])|(\s+)/y

/**
 * Splits JSON text without parsing its values, so that `1.10`, integers of 20 digits and the order of keys stay as they are. Returns null for a text
 * that is not JSON.
 */
export function tokensOf(text: string): Token[] | null {
  const tokens: Token[] = []
  tokenPattern.lastIndex = 0
  while (tokenPattern.lastIndex < text.length) {
    const match = tokenPattern.exec(text)
    if (match === null) return null
    const [all, string, colon, number, word, mark] = match
    if (string !== undefined) {
      tokens.push({ kind: colon === undefined ? 'string' : 'key', text: string })
      if (colon !== undefined) tokens.push({ kind: 'mark', text: colon })
    } else
      tokens.push({
        kind: number !== undefined ? 'number' : word !== undefined ? 'word' : mark !== undefined ? 'mark' : 'space',
        text: all,
      })
  }
  return tokens
}

/** Returns the tokens with line breaks and indentation. Only white space between the tokens changes. */
export function prettyTokens(tokens: readonly Token[]): Token[] {
  const result: Token[] = []
  let depth = 0
  const lineBreak = () => result.push({ kind: 'space', text: `\n${'  '.repeat(depth)}` })
  const inner = tokens.filter(({ kind }) => kind !== 'space')
  for (const [i, token] of inner.entries()) {
    const mark = token.kind === 'mark' ? token.text.trim() : ''
    const isEmpty = mark !== '' && '{['.includes(mark) && /^[}\]]$/.test(inner[i + 1]?.text ?? '')
    const closesEmpty = mark !== '' && '}]'.includes(mark) && /^[{[]$/.test(inner[i - 1]?.text ?? '')
    if (mark !== '' && '}]'.includes(mark) && !closesEmpty) {
      depth--
      lineBreak()
    }
    if (mark === ':') result.push({ kind: 'mark', text: ': ' })
    else result.push(token)
    if (mark !== '' && '{['.includes(mark) && !isEmpty) {
      depth++
      lineBreak()
    }
    if (mark === ',') lineBreak()
  }
  return result
}

/** Returns the text of the member `name` of an object at the top of `text`, or of its member `within`, exactly as it stands there. */
export function memberText(text: string, ...names: readonly string[]): string | null {
  const tokens = tokensOf(text)
  if (tokens === null) return null
  let depth = 0
  let step = 0
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!
    if (token.kind === 'mark' && /[{[]/.test(token.text)) depth++
    else if (token.kind === 'mark' && /[}\]]/.test(token.text)) depth--
    else if (token.kind === 'key' && depth === step + 1 && JSON.parse(token.text) === names[step]) {
      step++
      if (step === names.length) return valueFrom(tokens, i + 2)
    }
  }
  return null
}
function valueFrom(tokens: readonly Token[], start: number): string {
  let text = ''
  let depth = 0
  for (const token of tokens.slice(start)) {
    if (text === '' && token.kind === 'space') continue
    if (depth === 0 && text !== '' && (token.text === ',' || token.text === '}')) break
    text += token.text
    if (/^[{[]$/.test(token.text)) depth++
    else if (/^[}\]]$/.test(token.text)) depth--
    if (depth === 0) break
  }
  return text
}
