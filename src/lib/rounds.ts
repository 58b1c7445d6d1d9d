/**
 * Divides a group of items into rounds, so that no round has an id twice. An item that repeats another item of the group comes in a later round, when
 * the first one has been stored.
 */
export function roundsOf<T extends { readonly ids: readonly string[] }>(items: readonly T[]): T[][] {
  const rounds: T[][] = []
  let round: T[] = []
  const ids = new Set<string>()
  for (const item of items) {
    if (item.ids.some((id) => ids.has(id))) {
      rounds.push(round)
      round = []
      ids.clear()
    }
    round.push(item)
    for (const id of item.ids) ids.add(id)
  }
  return [...rounds, round]
}
