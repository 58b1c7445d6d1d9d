import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect } from 'chai'

const root = join(import.meta.dirname, '..')
const files = globSync('src/**/*.{ts,tsx}', { cwd: root })
const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, path]) =>
    relative(root, join(root, dirname(file), path!)),
  )
/** The types of the API's responses, which the dashboard imports too. */
const sharedTypes = 'src/api/responses.ts'
/** Returns the folder of a file below src, or the file itself for `main.ts`. */
const folderOf = (file: string): string => file.split('/')[1]!

/** The folders from which each folder may import, besides itself. */
const allowed: Record<string, readonly string[]> = {
  events: [],
  lib: ['events'],
  'http-client': ['lib'],
  config: ['events', 'lib'],
  ports: ['events'],
  commands: ['ports', 'events', 'lib'],
  projections: ['ports', 'events', 'lib'],
  dispatch: ['commands', 'projections', 'ports', 'events', 'lib', 'http-client'],
  api: ['commands', 'projections', 'ports', 'events', 'lib', 'ui'],
  ui: [],
  adapters: ['ports', 'events', 'lib'],
  process: ['config', 'lib', 'service'],
  service: ['adapters', 'api', 'commands', 'config', 'dispatch', 'events', 'lib', 'ports', 'projections'],
  operator: ['commands', 'config', 'dispatch', 'events', 'lib', 'ports', 'projections', 'service'],
  'main.ts': ['config', 'lib', 'process', 'service'],
  cli: ['api', 'config', 'events', 'lib', 'main.ts', 'operator', 'ui'],
}

/**
 * Finds the functions of a formatted file by their indentation. A function ends at the next line with the indentation of its first line, unless that
 * line opens another bracket.
 */
function functionsOf(lines: readonly string[]): { name: string; first: number; last: number }[] {
  const start =
    /^ *(?!(?:if|for|while|switch|catch|return|await|else|do|try)\b)(?:.*\bfunction\b.*|.*=> \(?\{|.*= (?:async )?\(|(?:async |static |get |set |override |\*)*[#\w]+(?:<.*>)?\(.*)$/
  const indentOf = (line: string) => line.length - line.trimStart().length
  return lines.flatMap((line, first) => {
    if (!start.test(line) || !/[{(]$/.test(line)) return []
    const isEnd = (other: string) => other !== '' && indentOf(other) <= indentOf(line)
    let last = first
    do last = lines.findIndex((other, i) => i > last && isEnd(other))
    while (/[{(]$/.test(lines[last] ?? ''))
    return last < 0
      ? []
      : [
          {
            name: line
              .trim()
              .replace(/[(<=].*$/, '')
              .trim(),
            first,
            last,
          },
        ]
  })
}

describe('the structure', () => {
  it('starts node with the same flags in `npm start` and in the Dockerfile', () => {
    const flagsIn = (file: string, line: RegExp) => (line.exec(readFileSync(join(root, file), 'utf8'))?.[0] ?? '').match(/--[\w-]+(=\d+)?/g)
    expect(flagsIn('Dockerfile', /^CMD .*$/m)).to.deep.equal(flagsIn('package.json', /"start": .*$/m))
  })
  it('has an import rule for every folder of src', () => {
    expect([...new Set(files.map(folderOf))].filter((folder) => !(folder in allowed))).to.deep.equal([])
  })
  it('imports only what the rules allow, so that no two folders import each other', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((imported) => folderOf(imported) !== folderOf(file) && !allowed[folderOf(file)]?.includes(folderOf(imported)))
        .filter((imported) => !(folderOf(file) === 'ui' && imported === sharedTypes))
        .map((imported) => `${file} imports ${imported}`),
    )
    expect(wrong).to.deep.equal([])
  })
  it('gives the dashboard to one file of the API, and its page of proofs to the command line, which load the bundler only when it is needed', () => {
    const importers = files.filter((file) => folderOf(file) !== 'ui' && importsOf(file).some((imported) => folderOf(imported) === 'ui'))
    expect(importers.sort()).to.deep.equal(['src/api/ui/ui.ts', 'src/cli/audit.ts'])
    for (const file of importers) expect(readFileSync(join(root, file), 'utf8')).to.not.match(/^import (?!type )[^\n]*ui\/bundle/m)
    for (const file of files.filter((name) => name !== 'src/ui/bundle.ts'))
      expect(readFileSync(join(root, file), 'utf8'), file).to.not.match(/['"]esbuild['"]/)
  })
  it('builds the dashboard in layers: screens of parts, and both of lib', () => {
    const layers: Record<string, readonly string[]> = {
      lib: [],
      parts: ['lib'],
      screens: ['parts', 'lib'],
      app: ['screens', 'parts', 'lib', 'style'],
    }
    const layerOf = (file: string) => file.split('/')[2]!
    const wrong = files
      .filter((file) => layerOf(file) in layers && folderOf(file) === 'ui')
      .flatMap((file) =>
        importsOf(file)
          .filter(
            (imported) =>
              imported !== sharedTypes && layerOf(imported) !== layerOf(file) && !layers[layerOf(file)]?.includes(layerOf(imported)),
          )
          .map((imported) => `${file} imports ${imported}`),
      )
    expect(wrong).to.deep.equal([])
  })
  it('gives the dashboard nothing of the API but the types of its responses', () => {
    expect(importsOf(sharedTypes)).to.deep.equal([])
    expect(readFileSync(join(root, sharedTypes), 'utf8')).to.not.match(/^export (?!interface|type)/m)
    const importers = files.filter((file) => folderOf(file) === 'ui' && importsOf(file).includes(sharedTypes))
    expect(importers.length).to.be.greaterThan(10)
    for (const file of importers)
      expect(readFileSync(join(root, file), 'utf8'), file).to.match(/^import type \{[^}]*\} from '[./]+api\/responses\.ts'$/m)
  })
  it('writes no HTML in the dashboard, so that no text of a receiver can become a script', () => {
    const writers = files.filter((file) =>
      /dangerouslySetInnerHTML|innerHTML|insertAdjacentHTML|document\.write/.test(readFileSync(join(root, file), 'utf8')),
    )
    expect(writers).to.deep.equal([])
  })
  it('lets no adapter import another', () => {
    const engine = (file: string) => file.split('/')[2]
    const wrong = files
      .filter((file) => folderOf(file) === 'adapters')
      .flatMap((file) => importsOf(file).filter((imported) => folderOf(imported) === 'adapters' && engine(imported) !== engine(file)))
    expect(wrong).to.deep.equal([])
  })
  it('has no circular imports, not even of types', () => {
    const imports = new Map(files.map((file) => [file, importsOf(file)]))
    /** Follows the imports of a file. Returns the first path that comes back to a file on it, or undefined. */
    const circleFrom = (file: string, path: readonly string[], done: Set<string>): readonly string[] | undefined => {
      if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
      if (done.has(file)) return undefined
      for (const imported of imports.get(file) ?? []) {
        const circle = circleFrom(imported, [...path, file], done)
        if (circle !== undefined) return circle
      }
      done.add(file)
      return undefined
    }
    const done = new Set<string>()
    for (const file of files) expect(circleFrom(file, [], done)?.join(' > ')).to.equal(undefined)
  })
  it('has nothing but main.ts and folders at the top of src', () => {
    expect(files.filter((file) => file.split('/').length === 2)).to.deep.equal(['src/main.ts'])
  })
  it('has no function of more than 100 lines', () => {
    const long = files.flatMap((file) =>
      functionsOf(readFileSync(join(root, file), 'utf8').split('\n'))
        .filter(({ first, last }) => last - first + 1 > 100)
        .map(({ name }) => `${file}: ${name}`),
    )
    expect(long).to.deep.equal([])
  })
  it('reads the environment only in config/config.ts and in the command line', () => {
    const readers = files.filter((file) => /process\.env|from 'node:process'/.test(readFileSync(join(root, file), 'utf8')))
    expect(readers.filter((file) => !file.startsWith('src/cli/'))).to.deep.equal(['src/config/config.ts'])
  })
  it('gives every connection to Postgres its settings in one place', () => {
    const connecting = files.filter((file) => /new pg\.(Client|Pool)\b/.test(readFileSync(join(root, file), 'utf8')))
    expect(connecting).to.deep.equal(['src/adapters/postgres/pool.ts', 'src/adapters/postgres/session.ts'])
    for (const file of connecting) expect(readFileSync(join(root, file), 'utf8'), file).to.include('prepareSession(client')
  })
  it('compares secrets in one place, in constant time', () => {
    const sourceOf = (file: string) => readFileSync(join(root, file), 'utf8')
    expect(files.filter((file) => sourceOf(file).includes('timingSafeEqual'))).to.deep.equal(['src/lib/same-secret.ts'])
    expect(files.filter((file) => sourceOf(file).includes('sameSecret(')).sort()).to.deep.equal([
      'src/api/credentials.ts', // the metrics token
      'src/api/routes/auth.ts', // client secrets
      'src/lib/same-secret.ts',
    ])
    // If a value of a caller identifies something, it is found by the HMAC of the value.
    expect(files.filter((file) => /\.lookup\(\s*'/.test(sourceOf(file))).sort()).to.deep.equal([
      'src/api/idempotency.ts',
      'src/api/routes/auth.ts',
      'src/api/routes/clients.ts',
      'src/projections/api-keys.ts',
      'src/projections/row-macs.ts',
      'src/service/first-start.ts',
    ])
    const secret = String.raw`[\w.!]*(?:secret|token|hmac|signature|password|fingerprint|credential|apikey)\w*`
    const other = String.raw`(?!undefined\b|null\b|'|\d|this\b)[\w.!]+`
    const comparison = new RegExp(
      String.raw`(?:^|[^\w.])(?:${secret}\s*[!=]==?\s*${other}|(?!typeof )${other}\s*[!=]==?\s*${secret}|${secret}\.(?:equals|localeCompare|startsWith)\()`,
    )
    const violations = files.flatMap((file) =>
      [...sourceOf(file).matchAll(new RegExp(comparison, 'gim'))].map(([match]) => `${file}: ${match.replace(/^[^\w]/, '')}`),
    )
    // These places compare two HMACs under a key of the service. No caller can choose either HMAC, so the time reveals nothing.
    expect(violations.sort()).to.deep.equal([
      'src/adapters/postgres/message-bus-bodies.ts: message.fingerprint !== ref.fingerprint',
      'src/api/idempotency-keys.ts: row.request_hmac !== hmac',
      'src/commands/tenant.ts: client.secret_hmac === secret_hmac',
      'src/dispatch/route.ts: storedRow.fingerprint === row.fingerprint',
    ])
  })
})
