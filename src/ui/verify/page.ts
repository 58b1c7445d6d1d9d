import { Buffer } from 'buffer/'
import { putFile, removeFiles } from './files.ts'

interface CheckedFile {
  readonly name: string
  readonly bytes?: Buffer
  readonly folder?: string
}
/** The function `check` of docs/verify.mjs. */
type Check = (files: readonly CheckedFile[], key?: string, witness?: string) => { ok: boolean; lines: readonly string[] }

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T

/** Reads the chosen files: proofs and heads as they are, and an export as one folder. */
async function chosenFiles(): Promise<CheckedFile[]> {
  removeFiles()
  const checked: CheckedFile[] = []
  for (const file of element<HTMLInputElement>('files').files ?? [])
    checked.push({ name: file.name, bytes: Buffer.from(await file.arrayBuffer()) })
  const folders = new Set<string>()
  for (const file of element<HTMLInputElement>('folder').files ?? []) {
    putFile(file.webkitRelativePath, Buffer.from(await file.arrayBuffer()))
    folders.add(file.webkitRelativePath.split('/')[0]!)
  }
  return [...checked, ...[...folders].map((folder) => ({ name: folder, folder }))]
}

function show(verdict: string, tone: 'good' | 'bad', lines: readonly string[]): void {
  const heading = element('verdict')
  heading.textContent = verdict
  heading.className = tone
  element('lines').replaceChildren(
    ...lines.map((line) => {
      const item = document.createElement('li')
      item.textContent = line
      return item
    }),
  )
}

export function startPage(check: Check): void {
  element('form').addEventListener('submit', async (event) => {
    event.preventDefault()
    show('Checking …', 'good', [])
    const files = await chosenFiles()
    if (files.length === 0) return show('Choose a proof or an export first.', 'bad', [])
    const textOf = (id: string) => element<HTMLInputElement>(id).value.trim() || undefined
    const { ok, lines } = check(files, textOf('key'), textOf('witness'))
    show(ok ? 'Proven.' : 'Not proven.', ok ? 'good' : 'bad', lines)
  })
}
