import { reservedPrefix } from '../events/pattern.ts'

/**
 * Finds what is registered under patterns that take an event's name (`patternTakes` says the rule). A look-up costs the
 * name's dots, not the number of patterns.
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
      const found: T[] = []
      const collect = (pattern: string) => {
        const set = values.get(pattern)
        if (set !== undefined) found.push(...set)
      }
      collect(name)
      for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) collect(`${name.slice(0, dot)}.*`)
      if (!name.startsWith(reservedPrefix)) collect('*')
      return found
    },
  }
}
