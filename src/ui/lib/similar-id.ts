const lettersAndDigits = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '')

/** Returns a function that says whether an id is like what a person has typed: it contains the letters and digits, or a number of three digits or more. */
export function similarTo(typed: string): (id: string) => boolean {
  const characters = lettersAndDigits(typed)
  const numbers = (typed.match(/\d{3,}/g) ?? []).map((number) => new RegExp(`(?<!\\d)${number}(?!\\d)`))
  return (id) => (characters !== '' && lettersAndDigits(id).includes(characters)) || numbers.some((number) => number.test(id))
}
