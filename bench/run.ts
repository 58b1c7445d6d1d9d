// npm run bench [-- --seconds 10 --producers 32]: one event to one webhook, closed loop, on the embedded default with fsync.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import pg from 'pg'

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    producers: { type: 'string', default: '32' },
    bytes: { type: 'string', default: '512' },
    /** A folder for a CPU profile of the service. */
    profile: { type: 'string' },
  },
})
const children: ChildProcess[] = []
const start = (file: string, args: string[], env: Record<string, string> = {}) => {
  const flags = options.profile !== undefined && file.includes('main') ? ['--cpu-prof', `--cpu-prof-dir=${options.profile}`] : []
  const child = spawn(process.execPath, [...flags, join(import.meta.dirname, file), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return child
}
/** The first line for which the test answers something. */
const lineOf = async <T>(child: ChildProcess, test: (line: string) => T | undefined): Promise<T> => {
  for await (const line of createInterface({ input: child.stdout! })) {
    const found = test(line)
    if (found !== undefined) {
      child.stdout?.resume()
      return found
    }
  }
  throw new Error('a process of the benchmark ended early')
}
const json = async <T>(url: string, init: RequestInit = {}): Promise<T> => {
  const response = await fetch(url, init)
  if (!response.ok) throw new Error(`${init.method ?? 'GET'} ${url}: ${response.status} ${await response.text()}`)
  return (await response.json()) as T
}

const dataDir = await mkdtemp(join(tmpdir(), 'kolbak-bench-'))
try {
  const receiver = start('receiver.ts', [])
  const receiverUrl = await lineOf(receiver, (line) => line)
  const secret = 'a-secret-of-the-benchmark-that-is-long-enough'
  const service = start('../src/main.ts', [], {
    PORT: '0',
    KOLBAK_DATA_DIR: dataDir,
    KOLBAK_ADMIN_CLIENT_ID: 'bench',
    KOLBAK_ADMIN_CLIENT_SECRET: secret,
    KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
    KOLBAK_LOG_LEVEL: 'info',
  })
  const url = await lineOf(service, (line) => (line.includes('kolbak.ready') ? (JSON.parse(line) as { url: string }).url : undefined))
  const { access_token: token } = await json<{ access_token: string }>(`${url}/v1/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_type: 'client_credentials', client_id: 'bench', client_secret: secret }),
  })
  await json(`${url}/v1/webhooks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ callback_url: `${receiverUrl}/hook`, event: 'bench.*' }),
  })
  const password = (await readFile(join(dataDir, 'postgres-password'), 'utf8')).trim()
  const pgPort = (await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[3]
  const database = new pg.Client(`postgres://kolbak:${password}@127.0.0.1:${pgPort}/kolbak`)
  await database.connect()
  const commits = async () =>
    Number((await database.query('select xact_commit from pg_stat_database where datname = current_database()')).rows[0].xact_commit)
  const wal = async () => Number((await database.query("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as bytes")).rows[0].bytes)

  const run = async (seconds: string) => {
    await json(`${receiverUrl}/reset`)
    const before = { commits: await commits(), wal: await wal(), cpu: await cpuOf(service) }
    const producers = start('producers.ts', [url, token, options.producers, seconds, options.bytes])
    const began = Date.now()
    const accepted = await lineOf(
      producers,
      (line) => JSON.parse(line) as { accepted: number; perSecond: number; p50: number; p95: number; p99: number; failures: object },
    )
    let delivered: { deliveries: number; messages: number; p50: number; p95: number; p99: number }
    do delivered = await json(receiverUrl)
    while (delivered.messages < accepted.accepted && Date.now() - began < Number(seconds) * 1_000 + 60_000)
    const took = (Date.now() - began) / 1_000
    await database.query('select pg_stat_force_next_flush()')
    return {
      accepted,
      delivered,
      deliveredPerSecond: delivered.messages / took,
      lost: accepted.accepted - delivered.messages,
      duplicated: delivered.deliveries - delivered.messages,
      commitsPerMessage: ((await commits()) - before.commits) / accepted.accepted,
      walBytesPerMessage: ((await wal()) - before.wal) / accepted.accepted,
      serviceCpuMicrosPerMessage: ((await cpuOf(service)) - before.cpu) / accepted.accepted,
    }
  }
  await run('3') // warm
  const result = await run(options.seconds)
  const round = (value: number) => Math.round(value * 100) / 100
  console.table({
    'accepted/s': round(result.accepted.perSecond),
    'delivered/s': round(result.deliveredPerSecond),
    'accept p50 / p99 ms': `${round(result.accepted.p50)} / ${round(result.accepted.p99)}`,
    'end to end p50 / p99 ms': `${round(result.delivered.p50)} / ${round(result.delivered.p99)}`,
    lost: result.lost,
    duplicated: result.duplicated,
    failures: JSON.stringify(result.accepted.failures),
    'commits per message': round(result.commitsPerMessage),
    'WAL bytes per message': round(result.walBytesPerMessage),
    'service CPU µs per message': round(result.serviceCpuMicrosPerMessage),
  })
  await database.end()
  service.kill('SIGTERM')
  await new Promise((resolve) => service.once('exit', resolve))
} finally {
  for (const child of children) child.kill('SIGKILL')
  await rm(dataDir, { recursive: true, force: true })
}

/** CPU time of a process so far, in µs (Linux; elsewhere 0). */
async function cpuOf(child: ChildProcess): Promise<number> {
  const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8').catch(() => null)
  if (stat === null) return 0
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}
