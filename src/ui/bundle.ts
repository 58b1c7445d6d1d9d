import { createHash } from 'node:crypto'
import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'

/** A file that the dashboard's page loads, or the page itself. */
export interface Asset {
  /** The media type. */
  readonly type: string
  readonly content: Buffer
}
export interface Bundle {
  /** The assets by the names that the page uses. A name contains the hash of the content. */
  readonly assets: ReadonlyMap<string, Asset>
  /** The page of every screen. */
  readonly page: Asset
}

const folder = import.meta.dirname
const verifier = join(folder, '../../docs/verify.mjs')
/** The folder in which `src/ui/build.ts` puts a bundle that was made in advance, as the Docker image does. */
const prebuiltFolder = join(folder, '../../dist/ui')

export interface Sources {
  readonly script: Buffer
  readonly style: Buffer
}

/** Returns the bundle: the one that was built in advance from the same sources, or a new one. */
export async function loadUi(): Promise<Bundle> {
  const [sources, icon] = await Promise.all([(await readPrebuilt()) ?? bundleSources(), readFile(join(folder, 'app/icon.svg'))])
  return bundleOf(sources, icon)
}

/** Bundles the sources of the dashboard with esbuild (0.1-0.3 s, measured). */
export async function bundleSources(): Promise<Sources> {
  const esbuild = await import('esbuild')
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: [join(folder, 'app/main.tsx')],
      outdir: 'out',
      write: false,
      bundle: true,
      minify: true,
      format: 'esm',
      target: ['chrome120', 'firefox121', 'safari17.4'],
      jsx: 'automatic',
      jsxImportSource: 'preact',
      legalComments: 'none',
      logLevel: 'silent',
      tsconfigRaw: {}, // the options above are complete
    })
    const contentOf = (suffix: string) => Buffer.from(outputFiles.find(({ path }) => path.endsWith(suffix))!.contents)
    return { script: contentOf('.js'), style: contentOf('.css') }
  } finally {
    await esbuild.stop() // esbuild would otherwise keep a process running
  }
}

/**
 * Returns the page that checks proofs without Kolbak, as one HTML file: docs/verify.mjs with a form. It loads nothing, and its policy lets it send
 * nothing. It was built in advance from the same sources, or is bundled now.
 */
export async function loadVerifyPage(): Promise<Asset> {
  const text = (await readIfCurrent(prebuilt.verifyPage)) ?? (await bundleVerifyPage())
  return { type: 'text/html; charset=utf-8', content: Buffer.from(text) }
}

/** Maps each module of node that docs/verify.mjs imports to the file that takes its place in the page. */
const pageModules = {
  'node:crypto': 'crypto.ts',
  'node:fs': 'files.ts',
  'node:path': 'files.ts',
  'node:process': 'files.ts',
  'node:url': 'files.ts',
}
/** Bundles the page that checks proofs. */
export async function bundleVerifyPage(): Promise<string> {
  const at = (name: string) => join(folder, 'verify', name)
  const esbuild = await import('esbuild')
  try {
    const { outputFiles } = await esbuild.build({
      stdin: {
        contents: `import { check } from ${JSON.stringify(verifier)}; import { startPage } from './page.ts'; startPage(check)`,
        resolveDir: at(''),
      },
      write: false,
      bundle: true,
      minify: true,
      format: 'esm',
      target: ['chrome120', 'firefox121', 'safari17.4'],
      alias: Object.fromEntries(Object.entries(pageModules).map(([module, file]) => [module, at(file)])),
      inject: [at('buffer.ts')],
      define: { 'import.meta.url': '""' },
      legalComments: 'none',
      logLevel: 'silent',
      tsconfigRaw: {}, // the options above are complete
    })
    const script = outputFiles[0]!.text.replaceAll('</script', '<\\/script')
    const [html, style] = await Promise.all([readFile(at('page.html'), 'utf8'), readFile(at('page.css'), 'utf8')])
    const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`
    const policy = `default-src 'none'; script-src ${hashOf(script)}; style-src ${hashOf(style)}; base-uri 'none'; form-action 'none'`
    return html
      .replace('Policy" content=""', () => `Policy" content="${policy}"`)
      .replace('<style></style>', () => `<style>${style}</style>`)
      .replace('"module"></script>', () => `"module">${script}</script>`)
  } finally {
    await esbuild.stop()
  }
}

/** Returns a hash of all sources, by which a bundle that was built in advance is recognised as current. */
export async function hashOfSources(): Promise<string> {
  const hash = createHash('sha256')
  for (const name of [...globSync('**/*.{ts,tsx,css,html}', { cwd: folder }).sort(), verifier])
    hash
      .update(basename(name))
      .update('\0')
      .update(await readFile(resolve(folder, name)))
  return hash.digest('hex')
}

/** The files of a bundle that was built in advance. */
export const prebuilt = {
  folder: prebuiltFolder,
  script: 'app.js',
  style: 'app.css',
  verifyPage: 'verify.html',
  hash: 'sources.sha256',
} as const
/** Returns a file that was built in advance, or null if there is none or it was built from other sources. */
async function readIfCurrent(name: string): Promise<Buffer | null> {
  const read = (file: string) => readFile(join(prebuiltFolder, file))
  const hash = await read(prebuilt.hash).catch(() => null) // only an image has a bundle that was built in advance
  return hash === null || hash.toString() !== (await hashOfSources()) ? null : read(name)
}
async function readPrebuilt(): Promise<Sources | null> {
  const script = await readIfCurrent(prebuilt.script)
  const style = await readIfCurrent(prebuilt.style)
  return script === null || style === null ? null : { script, style }
}

function bundleOf({ script, style }: Sources, icon: Buffer): Bundle {
  const named = (name: string, type: string, content: Buffer) => {
    const hash = createHash('sha256').update(content).digest('hex').slice(0, 12)
    return [name.replace('.', `-${hash}.`), { type, content }] as const
  }
  const js = named('app.js', 'text/javascript; charset=utf-8', script)
  const css = named('app.css', 'text/css; charset=utf-8', style)
  const svg = named('icon.svg', 'image/svg+xml', icon)
  const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Kolbak</title>
    <link rel="icon" href="/ui/assets/${svg[0]}">
    <link rel="stylesheet" href="/ui/assets/${css[0]}">
    <script type="module" src="/ui/assets/${js[0]}"></script>
  </head>
  <body>
    <div id="app"></div>
    <noscript>The dashboard needs JavaScript. The API and the command line do the same without it.</noscript>
  </body>
</html>
`
  return { assets: new Map([js, css, svg]), page: { type: 'text/html; charset=utf-8', content: Buffer.from(page) } }
}
