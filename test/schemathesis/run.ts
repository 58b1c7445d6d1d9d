// npm run test:schemathesis [-- --seconds 60]: property-based tests of the whole API by schemathesis, from /openapi.json,
// against a service that is started for it. Needs Python 3 (`python3 -m venv`) and its package registry; not in the default suite.
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { removeFolder, startService, temporaryFolder } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'

/** With these an admin takes away its own rate or token, and the rest of the run would be refused: 429, 401. Tested by hand. */
const ofItself = ['changeTenant', 'rotateClientSecret', 'revokeClient']
const version = '4.32.5'
const run = promisify(execFile)
const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } } })

const venv = join(import.meta.dirname, '../../.schemathesis')
const tool = join(venv, 'bin/schemathesis')
if (!existsSync(tool)) {
  await run('python3', ['-m', 'venv', venv])
  await run(join(venv, 'bin/pip'), ['install', '--quiet', `schemathesis==${version}`], { timeout: 300_000 })
}
const dataDir = await temporaryFolder()
const service = await startService(dataDir)
let code: number | null = 1
try {
  const { token } = await clientOf(service.url)
  const args = ['run', `${service.url}/openapi.json`, '--header', `Authorization: Bearer ${token}`, '--max-time', values.seconds]
  args.push(...ofItself.flatMap((operation) => ['--exclude-operation-id', operation]))
  // Left out: ignored_auth, since every call carries the header (strangers.test.ts tries each route without), and
  // positive_data_acceptance, since rules that no schema can say refuse much of what is made up: If-Match of another
  // revision, cursors that no page gave, both credentials at once, hosts that resolve to private addresses.
  const child = spawn(
    tool,
    [...args, '--seed', values.seed, '--exclude-checks', 'ignored_auth,positive_data_acceptance', '--continue-on-failure', '--no-color'],
    {
      cwd: import.meta.dirname,
      stdio: 'inherit',
    },
  )
  code = await new Promise<number | null>((resolve) => {
    child.once('exit', resolve)
  })
  const faults = service.logLines.filter((line) => Number(line.level) >= 50)
  for (const fault of faults) console.error(JSON.stringify(fault))
  if (faults.length > 0) code = 1
} finally {
  await service.kill('SIGTERM')
  await removeFolder(dataDir)
}
process.exit(code ?? 1)
