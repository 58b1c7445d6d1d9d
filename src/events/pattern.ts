/** Names that Kolbak's own messages have; no wildcard but their own reaches them. */
export const reservedPrefix = 'kolbak.'

/** Whether a pattern takes a name: exact, `order.*` (every name that begins `order.`), or `*` (every name that is not reserved). */
export const patternTakes = (pattern: string, name: string): boolean =>
  pattern === '*' ? !name.startsWith(reservedPrefix) : pattern.endsWith('.*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
