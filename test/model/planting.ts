/** A change of one file's source that plants a mistake. */
export interface Change {
  /** The marker of the line that is changed. */
  readonly marker?: string
  /** Returns the changed source. Throws unless exactly one place in the source fits. */
  apply(source: string): string
}

/** Finds the one line that ends in the comment `// mutation: <marker>`. A line may have several markers, separated by commas. */
function markedLine(source: string, marker: string): { lines: string[]; at: number } {
  const lines = source.split('\n')
  const marked = lines.flatMap((line, i) => (markersIn(line).includes(marker) ? [i] : []))
  if (marked.length !== 1) throw new Error(`the marker "${marker}" is on ${marked.length} lines instead of one`)
  return { lines, at: marked[0]! }
}
/** Returns all markers in a text. */
export const markersIn = (text: string): string[] =>
  [...text.matchAll(/\/\/ mutation: ([a-z-]+(?:, [a-z-]+)*)$/gm)].flatMap(([, names]) => names!.split(', '))

function replaceOnce(text: string, find: RegExp, put: string): string {
  if ([...text.matchAll(new RegExp(find, 'g'))].length !== 1) throw new Error(`${find} does not match once: ${text.slice(0, 200)}`)
  return text.replace(find, put)
}

/** Changes the part of the marked line that the pattern matches. The pattern names no variables, so that they can be renamed. */
export const onLine = (marker: string, find: RegExp, put: string): Change => ({
  marker,
  apply(source) {
    const { lines, at } = markedLine(source, marker)
    const [code = '', comment = ''] = lines[at]!.split(/(?= \/\/ mutation: )/)
    return lines.with(at, replaceOnce(code, find, put) + comment).join('\n')
  },
})
/** Removes the marked line. */
export const withoutLine = (marker: string): Change => ({
  marker,
  apply(source) {
    const { lines, at } = markedLine(source, marker)
    return lines.toSpliced(at, 1).join('\n')
  },
})
/** Moves the marked line below the next one. */
export const afterNextLine = (marker: string): Change => ({
  marker,
  apply(source) {
    const { lines, at } = markedLine(source, marker)
    return lines.toSpliced(at, 2, lines[at + 1]!, lines[at]!).join('\n')
  },
})
/** Changes a clause of a statement. The pattern names columns, which are those of the database, and matches once in the file. */
export const inSql = (find: RegExp, put = ''): Change => ({ apply: (source) => replaceOnce(source, find, put) })
