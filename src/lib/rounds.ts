/**
 * Cuts a group of items where one has an id of another before it (a repeat that overtook its own first try): the round that
 * follows sees what the first has stored.
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
