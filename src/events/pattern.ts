/** The event names of Kolbak's own messages begin with this prefix. `*` does not match them. */
export const reservedPrefix = 'kolbak.'

/**
 * Returns whether a pattern matches an event name. A pattern is an exact name, `order.*` (every name that begins with `order.`), or `*` (every name
 * that is not reserved). This function is the rule. The dispatchers use `dispatch/pattern-index` instead, because it is faster. It must give the
 * same results, and a test compares the two.
 */
export const patternMatches = (pattern: string, name: string): boolean =>
  pattern === '*' ? !name.startsWith(reservedPrefix) : pattern.endsWith('.*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
