/** Returns the members of a body with U+FFFD in place of lone surrogates in texts. Sealing would replace them too, because it writes UTF-8. */
export const wellFormed = <T extends object>(body: T): T =>
  Object.fromEntries(Object.entries(body).map(([name, value]) => [name, typeof value === 'string' ? value.toWellFormed() : value])) as T
