import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Code, loadCode, src } from './code.ts'
import type { Mutation } from './mutations.ts'

/** The code with a mistake planted: a copy of src, in a folder of its own. Throws when the text to change is not there (any more). */
export async function mutant({ name, edits }: Mutation): Promise<{ code: Code; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'kolbak-mutant-'))
  const copy = join(folder, 'src')
  await cp(src, copy, { recursive: true })
  await symlink(join(src, '../node_modules'), join(folder, 'node_modules'))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  for (const { file, find, put } of edits) {
    const path = join(copy, file)
    const text = await readFile(path, 'utf8')
    if (text.split(find).length !== 2) throw new Error(`${name}: ${file} has not once ${JSON.stringify(find)}`)
    await writeFile(
      path,
      text.replace(find, () => put),
    )
  }
  return { code: await loadCode(copy), remove: () => rm(folder, { recursive: true }) }
}
