const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

export interface Span {
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

/**
 * Where the value of a top-level member stands in the bytes of a JSON object, so that it can be passed on as it was
 * sent: key order, `1.10` and 20-digit integers do not survive being parsed and written again. Of members that occur
 * twice the last counts, and names may be written with escapes, both as in JSON.parse.
 * @param json an object that JSON.parse accepts: its syntax is not checked again
 */
export function memberRange(json: Buffer, name: string): Span | null {
  const plainName = Buffer.from(JSON.stringify(name))
  let at = skipSpace(json, 0) + 1
  let found: Span | null = null
  for (;;) {
    at = skipSpace(json, at)
    if (at >= json.length || json[at] === closeBrace) return found
    const nameEnd = skipString(json, at)
    const named = isName(json, at, nameEnd, plainName, name)
    const start = skipSpace(json, skipSpace(json, nameEnd) + 1) // past the colon
    const end = skipValue(json, start)
    if (named) found = { start, end }
    at = skipSpace(json, end)
    if (json[at] === comma) at++
  }
}

/** Where the elements of an array stand, in the bytes that it is part of. @param array from its opening bracket on */
export function elementRanges(json: Buffer, array: Span): Span[] {
  const spans: Span[] = []
  for (let at = skipSpace(json, array.start + 1); at < array.end && json[at] !== closeBracket; ) {
    const end = skipValue(json, at)
    spans.push({ start: at, end })
    at = skipSpace(json, end)
    if (json[at] === comma) at = skipSpace(json, at + 1)
  }
  return spans
}

function isName(json: Buffer, start: number, end: number, plain: Buffer, name: string): boolean {
  if (end - start === plain.length && json.compare(plain, 0, plain.length, start, end) === 0) return true
  for (let at = start; at < end; at++) if (json[at] === backslash) return JSON.parse(json.toString('utf8', start, end)) === name
  return false
}
function skipSpace(json: Buffer, from: number): number {
  let at = from
  while (at < json.length && isSpace(json[at]!)) at++
  return at
}
/** @param from the opening quote; answers the place after the closing one */
function skipString(json: Buffer, from: number): number {
  let at = from + 1
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1
  return at + 1
}
/** Without recursion: a hostile depth must not reach the stack. */
function skipValue(json: Buffer, from: number): number {
  const first = json[from]
  if (first === quote) return skipString(json, from)
  let at = from
  if (first !== openBrace && first !== openBracket) {
    while (at < json.length && !isEnd(json[at]!)) at++
    return at
  }
  let depth = 0
  do {
    const byte = json[at]
    if (byte === quote) {
      at = skipString(json, at)
      continue
    }
    if (byte === openBrace || byte === openBracket) depth++
    else if (byte === closeBrace || byte === closeBracket) depth--
    at++
  } while (depth > 0 && at < json.length)
  return at
}
const isEnd = (byte: number) => byte === comma || byte === closeBrace || byte === closeBracket || byte === colon || isSpace(byte)
