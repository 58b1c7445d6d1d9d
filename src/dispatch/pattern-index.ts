import { reservedPrefix } from '../events/pattern.ts'

/**
 * Finds the values whose patterns match an event name, by the rule of `patternMatches`. A test checks that both follow the same rule. The cost of a
 * look-up depends on the number of dots in the name, and not on the number of patterns.
 */
export interface PatternIndex<T> {
  add(pattern: string, value: T): void
  remove(pattern: string, value: T): void
  match(name: string): T[]
}

export function createPatternIndex<T>(): PatternIndex<T> {
  const values = new Map<string, Set<T>>()
  return {
    add(pattern, value) {
      const set = values.get(pattern)
      if (set === undefined) values.set(pattern, new Set([value]))
      else set.add(value)
    },
    remove(pattern, value) {
      const set = values.get(pattern)
      set?.delete(value)
      if (set?.size === 0) values.delete(pattern)
    },
    match(name) {
      const matches: T[] = []
      const collect = (pattern: string) => {
        const set = values.get(pattern)
        if (set !== undefined) matches.push(...set)
      }
      collect(name)
      for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) collect(`${name.slice(0, dot)}.*`)
      if (!name.startsWith(reservedPrefix)) collect('*')
      return matches
    },
  }
}
