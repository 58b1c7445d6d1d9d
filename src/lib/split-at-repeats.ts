/**
 * Splits items into parts that are written one after the other, so that no part has an id twice. An item that repeats an earlier item begins a new
 * part, which is written when the earlier item has been stored.
 */
export function splitAtRepeats<T extends { readonly ids: readonly string[] }>(items: readonly T[]): T[][] {
  const parts: T[][] = []
  let part: T[] = []
  const ids = new Set<string>()
  for (const item of items) {
    if (item.ids.some((id) => ids.has(id))) {
      parts.push(part)
      part = []
      ids.clear()
    }
    part.push(item)
    for (const id of item.ids) ids.add(id)
  }
  return [...parts, part]
}
