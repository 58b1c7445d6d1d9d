import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { advisoryLocks } from '../../src/adapters/postgres/advisory-locks.ts'

const root = new URL('../../src', import.meta.url).pathname
const register = 'adapters/postgres/advisory-locks.ts'

/** Returns the first argument of each call that takes an advisory lock, with its file. */
async function locksIn(extension: string): Promise<{ file: string; text: string; key: string }[]> {
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith(extension) && file !== register)
  const texts = await Promise.all(files.map(async (file) => ({ file, text: await readFile(join(root, file), 'utf8') })))
  return texts.flatMap(({ file, text }) =>
    [...text.matchAll(/pg_(?:try_)?advisory_(?:xact_)?lock(?:_shared)?\(\s*([^\s,)]+)/g)].map((match) => ({ file, text, key: match[1]! })),
  )
}

describe('the register of advisory locks', () => {
  it('gives each lock another number', () => {
    const numbers = Object.values(advisoryLocks)
    expect(new Set(numbers).size).to.equal(numbers.length)
  })

  it('contains the number of each lock that a migration takes, and the migration names the lock in a comment', async () => {
    const locks = await locksIn('.sql')
    expect(locks.map(({ key }) => Number(key))).to.include.members([advisoryLocks.eventLog, advisoryLocks.busPartition])
    for (const { file, text, key } of locks) {
      const [name] = Object.entries(advisoryLocks).find(([, number]) => String(number) === key) ?? []
      expect(name, `${file} takes the advisory lock ${key}`).to.be.a('string')
      expect(text, `${file} names its lock`).to.match(new RegExp(`advisory lock ${name} \\(${key}\\b`, 'i'))
    }
  })

  it('is the only source of the numbers in TypeScript', async () => {
    const locks = await locksIn('.ts')
    expect(locks).to.not.be.empty
    for (const { file, key } of locks)
      expect(key, `${file} takes an advisory lock`).to.match(/^(\$1$|\$\{advisoryLocks\.|hashtextextended\()/)
    for (const { file, text } of locks) expect(text, `${file} has a number of its own`).to.not.match(/\b7_?00\d\b/)
  })
})
