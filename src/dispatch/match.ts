/** Names that Kolbak's own messages have; no wildcard but their own reaches them. */
const reserved = 'kolbak.'

/**
 * Finds what is registered under patterns that match an event's name: an exact name, `order.*` (every name beginning
 * `order.`), or `*` (every name that is not reserved). A look-up costs the name's dots, not the number of patterns.
 */
export interface PatternIndex<T> {
  add(pattern: string, value: T): void
  remove(pattern: string, value: T): void
  match(name: string): T[]
}

export function patternIndex<T>(): PatternIndex<T> {
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
      if (!name.startsWith(reserved)) collect('*')
      return found
    },
  }
}
