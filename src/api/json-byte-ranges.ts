const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

interface ByteRange {
  readonly start: number
  /** The index after the last byte. */
  readonly end: number
}

/**
 * Returns the position of a top-level member's value in the bytes of a JSON object, so that the value can be passed on as it was
 * sent. Parsing and serializing would change key order, `1.10`, and integers of 20 digits. As in JSON.parse, the last of two
 * members with the same name counts, and names may contain escapes.
 * @param json an object that JSON.parse accepts; its syntax is not checked again
 */
export function memberRange(json: Buffer, name: string): ByteRange | null {
  const plainName = Buffer.from(JSON.stringify(name))
  let at = skipSpace(json, 0) + 1
  let range: ByteRange | null = null
  for (;;) {
    at = skipSpace(json, at)
    if (at >= json.length || json[at] === closeBrace) return range
    const nameEnd = skipString(json, at)
    const hasName = isName(json, at, nameEnd, plainName, name)
    const start = skipSpace(json, skipSpace(json, nameEnd) + 1) // The inner call returns the position of the colon.
    const end = skipValue(json, start)
    if (hasName) range = { start, end }
    at = skipSpace(json, end)
    if (json[at] === comma) at++
  }
}

/** Returns the positions of the elements of an array. @param array the position of the array, including its brackets */
export function elementRanges(json: Buffer, array: ByteRange): ByteRange[] {
  const ranges: ByteRange[] = []
  for (let at = skipSpace(json, array.start + 1); at < array.end && json[at] !== closeBracket; ) {
    const end = skipValue(json, at)
    ranges.push({ start: at, end })
    at = skipSpace(json, end)
    if (json[at] === comma) at = skipSpace(json, at + 1)
  }
  return ranges
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
/** Returns the position after the closing quote. @param from the position of the opening quote */
function skipString(json: Buffer, from: number): number {
  let at = from + 1
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1
  return at + 1
}
/** Returns the position after a value. The function is not recursive, because deeply nested input could exhaust the stack. */
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
