import { isObject } from '../lib/is-object.ts'

/** Returns whether a value parsed from JSON has more than this many levels of nested objects and arrays. */
function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  if (Array.isArray(value)) return value.some((item) => isDeeperThan(levels - 1, item))
  for (const name in value) if (isDeeperThan(levels - 1, (value as Record<string, unknown>)[name])) return true
  return false
}

/** Returns the error sentence if the payload of a parsed event is so deep that parsers of receivers may refuse it, or else undefined. */
export const depthFault = (event: unknown, maxDepth: number): string | undefined =>
  isObject(event) && isDeeperThan(maxDepth, event.payload)
    ? `must have at most ${maxDepth} levels of objects and arrays, because the parsers of many receivers refuse more`
    : undefined
