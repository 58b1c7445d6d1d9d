const lettersAndDigits = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '')

/** The ids that a longer text may contain have at least this many letters and digits. */
const leastCharacters = 4

/**
 * Returns a function that says whether an id is like what a person has typed. The id contains its letters and digits or a number of it with three digits
 * or more, or the typed text contains the id.
 */
export function similarTo(typed: string): (id: string) => boolean {
  const characters = lettersAndDigits(typed)
  const numbers = (typed.match(/\d{3,}/g) ?? []).map((number) => new RegExp(`(?<!\\d)${number}(?!\\d)`))
  return (id) => {
    const own = lettersAndDigits(id)
    const contains = (characters !== '' && own.includes(characters)) || (own.length >= leastCharacters && characters.includes(own))
    return contains || numbers.some((number) => number.test(id))
  }
}
