import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import { configTable } from '../src/cli/config-table.ts'

const root = join(import.meta.dirname, '..')
const read = (page: string): string => readFileSync(join(root, page), 'utf8')
const decisions = globSync('docs/decisions/0*.md', { cwd: root }).sort()
const pages = [...globSync('*.md', { cwd: root }), ...globSync('docs/*.md', { cwd: root }), 'docs/decisions/README.md', ...decisions].sort()

/** Returns the anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

describe('the docs', () => {
  it('have the table of variables that the code has', () => {
    const [, table] = /<!-- configuration -->\n([\s\S]*?)\n<!-- \/configuration -->/.exec(read('docs/configuration.md')) ?? []
    expect(table).to.equal(configTable())
  })
  it('have a README of at most 12,000 bytes', () => {
    expect(Buffer.byteLength(read('README.md'))).to.be.at.most(12_000)
  })
  it('link only to pages, files and headings that exist', () => {
    const missing = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, link]) => link!)
        .filter((link) => {
          if (/^https?:/.test(link)) return false
          const [path = '', anchor] = link.split('#')
          const target = path === '' ? page : join(dirname(page), path)
          return !existsSync(join(root, target)) || (anchor !== undefined && !anchorsOf(target).includes(anchor))
        })
        .map((link) => `${page}: ${link}`),
    )
    expect(missing).to.deep.equal([])
  })
  it('name tests that exist, in the tables of attacks', () => {
    const rows = read('docs/audit.md')
      .split('\n')
      .filter((line) => line.includes('.test.ts): "'))
    expect(rows.length).to.be.greaterThan(30)
    const missing = rows.flatMap((row) =>
      row.split(/(?=\[[\w/-]+\]\()/).flatMap((part) => {
        const [, file] = /^\[[\w/-]+\]\(\.\.\/(\S+)\): /.exec(part) ?? []
        if (file === undefined) return []
        const source = read(file)
        return [...part.matchAll(/"([^"]+)"/g)].map(([, title]) => title!).filter((title) => !source.includes(title))
      }),
    )
    expect(missing).to.deep.equal([])
  })
  it('explain each word once in the glossary', () => {
    const words = [...read('docs/glossary.md').matchAll(/^\| \*\*(.+?)\*\*/gm)].flatMap(([, entry]) => entry!.split(', '))
    expect(words).to.have.length.greaterThan(50)
    expect(words.filter((word, i) => words.indexOf(word) !== i)).to.deep.equal([])
  })
  it('list every decision with its title and status', () => {
    const rows = decisions.map((page) => {
      const [, number, title] = /^# (\d+)\. (.+)$/m.exec(read(page)) ?? []
      const [, status] = /^- Status: (.+)$/m.exec(read(page)) ?? []
      return `| [${number}](${page.slice('docs/decisions/'.length)}) | ${title} | ${status} |`
    })
    const listed = [...read('docs/decisions/README.md').matchAll(/^\| \[.+$/gm)].map(([row]) => row)
    expect(listed).to.deep.equal(rows)
  })
  it('give each decision its number, status, date, context, decision and consequences', () => {
    const parts = [/^# \d+\. /, /^- Status: (accepted|superseded by \[\d+\])/m, /^- Date: \d{4}-\d\d-\d\d/m]
    const headings = ['Context', 'Decision', 'Consequences'].map((heading) => new RegExp(`^## ${heading}$`, 'm'))
    const faulty = decisions.filter((page) => {
      const text = read(page)
      const number = /^# (\d+)\. /.exec(text)?.[1] ?? ''
      return !page.includes(`/${number.padStart(4, '0')}-`) || [...parts, ...headings].some((part) => !part.test(text))
    })
    expect(faulty).to.deep.equal([])
  })
  it('have every decision that the code refers to', () => {
    const numbers = globSync(['src/**/*.{ts,sql}', 'test/**/*.ts', 'bench/**/*.ts'], { cwd: root }).flatMap((file) =>
      [...read(file).matchAll(/decision (\d+)/g)].map(([, number]) => number!.padStart(4, '0')),
    )
    expect(numbers.filter((number) => !decisions.some((page) => page.includes(`/${number}-`)))).to.deep.equal([])
  })
})
