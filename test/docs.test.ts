import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import { configTable } from '../src/cli/config-table.ts'

const root = join(import.meta.dirname, '..')
const pages = ['README.md', 'docs/operations.md', 'docs/performance.md', 'docs/decisions/README.md']

describe('the docs', () => {
  it('have the table of variables that the code has', () => {
    const [, table] =
      /<!-- configuration -->\n([\s\S]*?)\n<!-- \/configuration -->/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? []
    expect(table).to.equal(configTable())
  })
  for (const page of pages)
    it(`link only to what exists: ${page}`, () => {
      const links = [...readFileSync(join(root, page), 'utf8').matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, link]) => link!)
      const missing = links.filter((link) => !/^https?:/.test(link) && !existsSync(join(root, dirname(page), link)))
      expect(missing).to.deep.equal([])
    })
})
