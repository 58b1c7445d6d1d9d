import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Code, loadCode, src } from './code.ts'
import type { Mutation } from './mutations.ts'

/** The files of src that have a mistake, by their address: each mutant is modules of its own, under addresses with a query of its own. */
const mistaken = new Map<string, string>()
let made = 0

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const query = /\?mutant=\d+$/.exec(context.parentURL ?? '')?.[0]
    return query !== undefined && resolved.url.startsWith(pathToFileURL(src).href) ? { ...resolved, url: resolved.url + query } : resolved
  },
  load(url, context, next) {
    const source = mistaken.get(url)
    return source === undefined ? next(url, context) : { format: 'module-typescript', source, shortCircuit: true }
  },
})

/** The code with a mistake planted. Throws when the text to change is not there (any more). */
export function mutant({ name, edits }: Mutation): Promise<Code> {
  const query = `?mutant=${++made}`
  for (const { file, find, put } of edits) {
    const path = join(src, file)
    const url = pathToFileURL(path).href + query
    const text = mistaken.get(url) ?? readFileSync(path, 'utf8')
    if (text.split(find).length !== 2) throw new Error(`${name}: ${file} has not once ${JSON.stringify(find)}`)
    mistaken.set(
      url,
      text.replace(find, () => put),
    )
  }
  return loadCode(query)
}
