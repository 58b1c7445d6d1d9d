import { execFile } from 'node:child_process'
import { copyFileSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { promisify } from 'node:util'
import { jarsFrom } from '../support/engines/jars.ts'

const folderOfThis = import.meta.dirname
const root = join(folderOfThis, '../..')
const binaries = join(folderOfThis, 'node_modules/.bin')

/** The output of a program in `programs/`: the event that it posted and read again, and the faulty field of a refused webhook. */
export interface Posted {
  readonly id: string
  readonly payload: unknown
  readonly fault: string
}
/** A generator of clients, with a program that posts an event by the generated client. */
interface Generator {
  readonly program: string
  /** Makes the client from the document, and compiles it together with the program, as strictly as the language allows. */
  generate(document: string, folder: string): Promise<void>
  run(folder: string, variables: Readonly<Record<string, string>>): Promise<string>
}

/** Runs a program in a folder and returns its output. An error contains its first 3,000 characters. */
async function run(
  folder: string,
  file: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<string> {
  const options = { cwd: folder, env: { ...env, ...variables }, maxBuffer: 64 << 20 }
  const { stdout } = await promisify(execFile)(file, args, options).catch(
    (error: { stdout?: string; stderr?: string; message: string }) => {
      throw new Error(`${file} failed: ${(error.stdout ?? '') + (error.stderr ?? '') || error.message}`.slice(0, 3_000), { cause: error })
    },
  )
  return stdout
}
const node = (folder: string, script: string, args: readonly string[] = [], variables = {}) =>
  run(folder, process.execPath, [script, ...args], variables)

/** Compiles the TypeScript of a folder to `dist`, with strict options. */
async function compile(folder: string): Promise<void> {
  const compilerOptions = {
    ...{ target: 'es2024', lib: ['es2024', 'dom', 'dom.iterable'], module: 'nodenext', types: ['node'], skipLibCheck: true },
    ...{ strict: true, noUncheckedIndexedAccess: true, rewriteRelativeImportExtensions: true, outDir: 'dist', rootDir: '.' },
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['**/*.ts'] }))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  await node(folder, join(root, 'node_modules/typescript/bin/tsc'), ['-p', '.'])
}
const runCompiled = (folder: string, variables: Readonly<Record<string, string>>) => node(folder, 'dist/program.js', [], variables)

async function openapiGenerator(folder: string, document: string, args: readonly string[]): Promise<string> {
  const jars = await jarsFrom('generators', join(folderOfThis, 'pom.xml'))
  const [jar = ''] = globSync(join(jars, 'openapi-generator-cli-*.jar'))
  await run(folder, 'java', ['-jar', jar, 'generate', '-i', document, '-o', 'client', ...args])
  return jars
}
const python = (folder: string) => join(folder, '../python-venv/bin/python')

/** The generators that run on Node alone. */
export const nodeGenerators: Readonly<Record<string, Generator>> = {
  'openapi-typescript with openapi-fetch': {
    program: 'openapi-fetch.ts',
    async generate(document, folder) {
      await node(folder, join(binaries, 'openapi-typescript'), [document, '--output', 'client.ts'])
      await compile(folder)
    },
    run: runCompiled,
  },
  '@hey-api/openapi-ts': {
    program: 'hey-api.ts',
    async generate(document, folder) {
      const output = { path: './client', module: { extension: '.ts' } }
      const plugins = ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk']
      writeFileSync(join(folder, 'hey-api.config.mjs'), `export default ${JSON.stringify({ input: document, output, plugins })}`)
      await node(folder, join(binaries, 'openapi-ts'), ['-f', 'hey-api.config.mjs'])
      await compile(folder)
    },
    run: runCompiled,
  },
}

/** The generators that need Java, each with the other tools that its language needs. */
export const otherGenerators: Readonly<Record<string, Generator & { readonly needs: readonly string[] }>> = {
  'openapi-generator, typescript-fetch': {
    needs: ['java', 'mvn'],
    program: 'typescript-fetch.ts',
    async generate(document, folder) {
      await openapiGenerator(folder, document, ['-g', 'typescript-fetch', '--additional-properties', 'importFileExtension=.js'])
      await compile(folder)
    },
    run: runCompiled,
  },
  'openapi-generator, python': {
    needs: ['java', 'mvn', 'python3'],
    program: 'program.py',
    async generate(document, folder) {
      await openapiGenerator(folder, document, ['-g', 'python'])
      const venv = join(folder, '../python-venv')
      await run(folder, 'python3', ['-m', 'venv', venv])
      await run(folder, python(folder), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', './client'])
    },
    run: (folder, variables) => run(folder, python(folder), ['program.py'], variables),
  },
  'openapi-generator, java': {
    needs: ['java', 'javac', 'mvn'],
    program: 'Program.java',
    async generate(document, folder) {
      await openapiGenerator(folder, document, ['-g', 'java', '--library', 'native'])
      await run(join(folder, 'client'), 'mvn', ['-B', '-q', 'compile', 'dependency:copy-dependencies'])
      await run(folder, 'javac', ['-Werror', '-cp', javaClasses(folder), '-d', 'classes', 'Program.java'])
    },
    run: (folder, variables) => run(folder, 'java', ['-cp', javaClasses(folder), 'Program'], variables),
  },
  'openapi-generator, go': {
    needs: ['java', 'mvn', 'go'],
    program: 'program.go',
    async generate(document, folder) {
      await openapiGenerator(folder, document, ['-g', 'go', '--git-user-id', 'kolbak', '--git-repo-id', 'client'])
      writeFileSync(
        join(folder, 'go.mod'),
        'module program\n\ngo 1.23\n\nrequire github.com/kolbak/client v0.0.0\n\nreplace github.com/kolbak/client => ./client\n',
      )
      await run(folder, 'go', ['mod', 'tidy'])
      await run(folder, 'go', ['vet', '.'])
      await run(folder, 'go', ['build', '-o', 'program', '.'])
    },
    run: (folder, variables) => run(folder, join(folder, 'program'), [], variables),
  },
}
const javaClasses = (folder: string) =>
  ['classes', 'client/target/classes', 'client/target/dependency/*'].map((path) => join(folder, path)).join(':')

/** Returns those of the tools that the machine does not have. */
export async function missingOf(tools: readonly string[]): Promise<string[]> {
  const commandsFound = await Promise.all(
    tools.map((tool) =>
      run(folderOfThis, 'which', [tool]).then(
        () => [],
        () => [tool],
      ),
    ),
  )
  return commandsFound.flat()
}

/** Makes a client of the service with a generator, and posts an event with it. */
export async function postWith(
  name: string,
  { program, ...generator }: Generator,
  service: { readonly url: string; readonly id: string; readonly secret: string },
): Promise<Posted> {
  const folder = join(folderOfThis, 'generated', name.replaceAll(/[^a-z]+/g, '-'))
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const document = join(folder, 'openapi.json')
  writeFileSync(document, await (await fetch(`${service.url}/openapi.json`)).text())
  copyFileSync(join(folderOfThis, 'programs', program), join(folder, program.endsWith('.ts') ? 'program.ts' : program))
  await generator.generate(document, folder)
  const printed = await generator.run(folder, {
    KOLBAK_URL: service.url,
    KOLBAK_CLIENT_ID: service.id,
    KOLBAK_CLIENT_SECRET: service.secret,
  })
  return JSON.parse(printed) as Posted
}
