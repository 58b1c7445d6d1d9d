// Usage: `control-double.ts stop|start|kill|freeze|thaw|reset NODE`. The program controls doubles of EventStoreDB as if they were a real server. It
// is an example of the command in EVENTSTOREDB_CONTROL (CONTRIBUTING.md). DOUBLE_FOLDER has the data. DOUBLE_PORTS is the port of a single node, or
// six ports: those of the three nodes of a cluster, and three ports on which the nodes talk to each other.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { argv, env, execPath, exit, kill } from 'node:process'
import { waitFor } from '../wait-for.ts'
import type { DoubleOptions } from './server.ts'

const [verb, node] = [argv[2], Number(argv[3])]
const ports = (env.DOUBLE_PORTS ?? '').split(',').map(Number)
const folder = join(env.DOUBLE_FOLDER ?? '', String(node))
const pidFile = join(folder, 'pid')
const data = join(folder, 'data')

const signal = async (name: NodeJS.Signals | 0): Promise<boolean> => {
  try {
    return kill(Number(await readFile(pidFile, 'utf8')), name)
  } catch {
    return false // the node was never started, or has ended
  }
}
const end = async (name: NodeJS.Signals) => {
  await signal(name)
  await signal('SIGCONT') // a frozen process cannot end
  await waitFor(async () => !(await signal(0)), { what: `node ${node} to end` })
}
const start = async () => {
  await mkdir(data, { recursive: true })
  const members = [0, 1, 2].map((i) => ({ port: ports[i]!, internal: ports[i + 3]! }))
  const options: DoubleOptions = { data, port: ports[node]!, ...(ports.length > 1 && { cluster: { members, own: node } }) }
  const child = spawn(execPath, [join(import.meta.dirname, 'main.ts'), JSON.stringify(options), 'detached'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  })
  await writeFile(pidFile, String(child.pid))
  await once(child.stdout, 'data') // the double accepts connections
}

if (verb === 'stop') await end('SIGTERM')
else if (verb === 'kill') await end('SIGKILL')
else if (verb === 'freeze') await signal('SIGSTOP')
else if (verb === 'thaw') await signal('SIGCONT')
else if (verb === 'start') await start()
else if (verb === 'reset') {
  await end('SIGKILL')
  await rm(folder, { recursive: true, force: true })
  await start()
} else throw new Error(`unknown verb ${verb}`)
exit(0)
