/** The event names of Kolbak's own messages begin with this prefix. `*` does not match them. */
export const reservedPrefix = 'kolbak.'

/**
 * Whether a pattern matches an event name. A pattern is an exact name, `order.*` (every name that begins with `order.`), or `*` (every name
 * that is not reserved). This is the rule. The dispatchers use `dispatch/pattern-index`, which must match in the same way, because it is faster. A
 * test compares the two.
 */
export const patternTakes = (pattern: string, name: string): boolean =>
  pattern === '*' ? !name.startsWith(reservedPrefix) : pattern.endsWith('.*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
