import type { Buffer } from 'buffer/'

/** The files of exports that the reader has chosen, by their paths. They stand for the parts of `node:fs` that docs/verify.mjs uses. */
const files = new Map<string, Buffer>()
export function putFile(path: string, bytes: Buffer): void {
  files.set(path, bytes)
}
export const removeFiles = (): void => files.clear()

function bytesOf(path: string): Buffer {
  const bytes = files.get(path)
  if (bytes === undefined) throw new Error(`${path} is missing`)
  return bytes
}
interface OpenFile {
  readonly bytes: Buffer
  at: number
}
export const readFileSync = (path: string): string => bytesOf(path).toString()
export const openSync = (path: string): OpenFile => ({ bytes: bytesOf(path), at: 0 })
export function readSync(file: OpenFile, chunk: Buffer): number {
  const length = file.bytes.copy(chunk, 0, file.at)
  file.at += length
  return length
}
export const closeSync = (): void => {}
const isIn = (folder: string) => (path: string) => path.startsWith(`${folder}/`)
export const existsSync = (folder: string): boolean => [...files.keys()].some(isIn(folder))
export const readdirSync = (folder: string): string[] => [...files.keys()].filter(isIn(folder)).map((path) => path.slice(folder.length + 1))
export const join = (...parts: string[]): string => parts.join('/')

// A page has no command line, so docs/verify.mjs does not call these.
export const argv: string[] = []
const none = (path: string): never => {
  throw new Error(`${path} is no file of this page`)
}
export const [statSync, realpathSync, fileURLToPath] = [none, none, none]
