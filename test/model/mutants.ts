import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Code, loadCode, src } from './code.ts'
import type { Mutation } from './mutations.ts'

/** The sources of mutated files by their URL. Each mutant loads all modules of src again, under URLs with a query of its own. */
const mutatedSources = new Map<string, string>()
let mutants = 0

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const query = /\?mutant=\d+$/.exec(context.parentURL ?? '')?.[0]
    return query !== undefined && resolved.url.startsWith(pathToFileURL(src).href) ? { ...resolved, url: resolved.url + query } : resolved
  },
  load(url, context, next) {
    const source = mutatedSources.get(url)
    return source === undefined ? next(url, context) : { format: 'module-typescript', source, shortCircuit: true }
  },
})

/** Loads the code with a planted mistake. Throws if the text to change does not exist. */
export function mutant({ name, file, changes }: Mutation): Promise<Code> {
  const query = `?mutant=${++mutants}`
  const path = join(src, file)
  try {
    const source = changes.reduce((text, change) => change.apply(text), readFileSync(path, 'utf8'))
    mutatedSources.set(pathToFileURL(path).href + query, source)
  } catch (error) {
    throw new Error(`The mutation "${name}" does not fit ${file}.`, { cause: error })
  }
  return loadCode(query)
}
