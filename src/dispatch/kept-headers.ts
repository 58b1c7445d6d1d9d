/** Fields that nearly every response has. A success that has no others keeps none, because most attempts are successes (decision 59). */
const usualFields: ReadonlySet<string> = new Set(['content-type', 'date', 'server'])
/** The most bytes of the fields that an attempt keeps, as JSON. */
const maxBytes = 2_048

/** Returns the header fields of a response that an attempt keeps, as JSON, or null if it keeps none. Fields that do not fit are left out. */
export function keptHeaders(fields: Readonly<Record<string, string>> | null, isSuccess: boolean): string | null {
  if (fields === null) return null
  const entries = Object.entries(fields)
  if (isSuccess && entries.every(([name]) => usualFields.has(name))) return null
  const keptFields: Record<string, string> = {}
  let bytes = 2
  for (const [name, value] of entries) {
    bytes += Buffer.byteLength(JSON.stringify(name)) + Buffer.byteLength(JSON.stringify(value)) + 2
    if (bytes > maxBytes) break
    keptFields[name] = value
  }
  return Object.keys(keptFields).length === 0 ? null : JSON.stringify(keptFields)
}
