import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Address } from './addresses.ts'

const checkMs = 1_000

/** Returns a function that looks a name up in /etc/hosts (hosts(5)). The file is read again within a second of a change. */
export function createHostsFile(path = '/etc/hosts'): (host: string) => Promise<readonly Address[]> {
  let version = ''
  let names: Promise<Map<string, Address[]>> = Promise.resolve(new Map())
  let checked: Promise<void> | undefined
  let checkedAt = Number.NEGATIVE_INFINITY
  const check = async () => {
    const { mtimeMs, size, ino } = await stat(path)
    const newVersion = `${mtimeMs} ${size} ${ino}`
    if (newVersion !== version) names = readFile(path, 'utf8').then(parse)
    await names
    version = newVersion
  }
  return async (host) => {
    if (performance.now() - checkedAt > checkMs) {
      checkedAt = performance.now()
      checked = check().catch(() => {
        names = Promise.resolve(new Map()) // the file does not exist on some systems
      })
    }
    await checked
    return (await names).get(host.replace(/\.$/, '').toLowerCase()) ?? []
  }
}

function parse(text: string): Map<string, Address[]> {
  const names = new Map<string, Address[]>()
  for (const line of text.split('\n')) {
    const [address = '', ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/)
    const family = isIP(address)
    if (family === 0) continue
    for (const alias of aliases.map((name) => name.toLowerCase()))
      names.set(alias, [...(names.get(alias) ?? []), { address, family: family === 4 ? 4 : 6 }])
  }
  return names
}
