import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Code, loadCode, src } from './code.ts'
import type { PlantedMistake } from './planted-mistakes.ts'

/** The changed sources by their URL. For each planted mistake all modules of src are loaded again, under URLs with another query. */
const changedSources = new Map<string, string>()
let count = 0

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const query = /\?mistake=\d+$/.exec(context.parentURL ?? '')?.[0]
    return query !== undefined && resolved.url.startsWith(pathToFileURL(src).href) ? { ...resolved, url: resolved.url + query } : resolved
  },
  load(url, context, next) {
    const source = changedSources.get(url)
    return source === undefined ? next(url, context) : { format: 'module-typescript', source, shortCircuit: true }
  },
})

/** Loads the code with a planted mistake. Throws if the text to change does not exist. */
export function codeWithMistake({ name, file, changes }: PlantedMistake): Promise<Code> {
  const query = `?mistake=${++count}`
  const path = join(src, file)
  try {
    const source = changes.reduce((text, change) => change.apply(text), readFileSync(path, 'utf8'))
    changedSources.set(pathToFileURL(path).href + query, source)
  } catch (error) {
    throw new Error(`The planted mistake "${name}" does not fit ${file}.`, { cause: error })
  }
  return loadCode(query)
}
