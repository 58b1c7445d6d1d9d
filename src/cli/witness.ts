import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { exitAtEndSignal } from '../lib/end-signals.ts'
import { createCosigner, readHead } from '../lib/log-signer.ts'
import { addCheckpoint } from '../lib/witness.ts'
import { commandName } from './command-name.ts'

export interface WitnessOptions {
  /** The keys of the logs. */
  readonly logs: readonly string[]
  /** The folder of the witness's own key and of the last heads. */
  readonly folder: string
  /** The name of the witness in its signatures, for a new folder. */
  readonly name: string
  readonly host: string
  readonly port: number
}
export interface Witness {
  readonly url: string
  /** The key that verifies its signatures. */
  readonly vkey: string
  close(): Promise<void>
}

interface StoredKey {
  readonly name: string
  readonly seed: string
}
/** The largest request: 63 hashes and a head with some signatures. */
const maxBytes = 16_384

async function writeDurably(path: string, value: object): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  await file.writeFile(`${JSON.stringify(value, null, 2)}\n`)
  await file.sync()
  await file.close()
  await rename(`${path}.new`, path)
}
async function readOrCreate<T extends object>(path: string, value: T): Promise<T> {
  if (!existsSync(path)) await writeDurably(path, value)
  return JSON.parse(await readFile(path, 'utf8')) as T
}

/** Starts a witness (https://c2sp.org/tlog-witness). It signs each head of the logs that extends all heads of the log that it has signed before. */
export async function startWitness({ logs, folder, name, host, port }: WitnessOptions): Promise<Witness> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const key = await readOrCreate<StoredKey>(join(folder, 'witness-key.json'), { name, seed: randomBytes(32).toString('base64') })
  const headsPath = join(folder, 'witness-heads.json')
  const heads = new Map(Object.entries(await readOrCreate<Record<string, string>>(headsPath, {})))
  const cosigner = createCosigner(Buffer.from(key.seed, 'base64'), key.name)
  const state = {
    logs: new Map(logs.map((log) => [log.slice(0, log.indexOf('+')), log])),
    cosigner,
    latest: (origin: string) => heads.get(origin) ?? null,
    async store(origin: string, note: string) {
      await writeDurably(headsPath, Object.fromEntries([...heads, [origin, note]]))
      heads.set(origin, note)
    },
    now: () => Math.floor(Date.now() / 1_000),
  }
  let last: Promise<unknown> = Promise.resolve()
  const server = createServer(async (req, res) => {
    const send = (status: number, type: string, body: string) => res.writeHead(status, { 'content-type': type }).end(body)
    try {
      if (req.method === 'GET' && req.url === '/') {
        const headLines = [...heads.values()].map((note) => readHead(note)).map((head) => `${head?.origin} ${head?.size}\n`)
        return send(200, 'text/plain; charset=utf-8', `${cosigner.vkey}\n${headLines.join('')}`)
      }
      if (req.method !== 'POST' || req.url !== '/add-checkpoint') return send(404, 'text/plain', 'Use POST /add-checkpoint.\n')
      let body = ''
      for await (const chunk of req.setEncoding('utf8')) {
        body += chunk
        if (body.length > maxBytes) return send(413, 'text/plain', 'The request is too large.\n')
      }
      const response = last.then(() => addCheckpoint(body, state))
      last = response.catch(() => undefined)
      const { status, type, body: text } = await response
      send(status, type, text)
    } catch (error) {
      console.error(error)
      send(500, 'text/plain', 'The witness failed.\n')
    }
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  const address = server.address() as AddressInfo
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    vkey: cosigner.vkey,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

const portOf = (text: string): number => {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new InvalidArgumentError('It must be a port.')
  return port
}

/** Defines the command that runs a witness. A witness belongs on a machine that the operator of the log does not control. */
export const witnessCommand = (program: Command): Command =>
  program
    .command('witness')
    .description('sign the heads of audit logs on another machine, so that a changed log is noticed')
    .requiredOption('--log <key...>', 'the keys of the logs')
    .option('--dir <folder>', 'the folder for its own key and the last heads', 'witness')
    .option('--name <name>', 'the name in its signatures', `${hostname()}/witness`)
    .option('--host <address>', 'the address to listen on', '127.0.0.1')
    .option('--port <port>', 'the port to listen on', portOf, 3400)
    .action(async ({ log, dir, name, host, port }: { log: string[]; dir: string; name: string; host: string; port: number }) => {
      exitAtEndSignal()
      const { url, vkey } = await startWitness({ logs: log, folder: dir, name, host, port })
      console.log(`Listening at ${url}. To get a signature: ${commandName} audit head --witness '${vkey}@${url}'`)
    })
