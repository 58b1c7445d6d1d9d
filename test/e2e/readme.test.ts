import { execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { Webhook } from 'standardwebhooks'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const block = (marker: string): string => new RegExp(`<!-- ${marker} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\\n\`\`\``).exec(readme)?.[1] ?? ''

describe('the README', () => {
  describe('shows how to use the API with curl', () => {
    const [, id, secret] = /KOLBAK_ADMIN_CLIENT_ID=(\S+) KOLBAK_ADMIN_CLIENT_SECRET=(\S+)/.exec(readme) ?? []
    const { service, receiver } = withService({
      variables: { KOLBAK_ADMIN_CLIENT_ID: id!, KOLBAK_ADMIN_CLIENT_SECRET: secret! },
    })

    it('in calls that return what the README promises', async () => {
      const script = block('walk-through')
        // Both addresses are replaced at once, because the port of the service may itself be 4000.
        .replaceAll(/http:\/\/127\.0\.0\.1:(3000|4000)\b/g, (_, port) => (port === '3000' ? service.url : receiver.origin))
        .replaceAll('npx node', process.execPath)
      const { stdout } = await run('bash', ['-euc', script], { cwd: root, env: { PATH: env.PATH } })
      const responses = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, never>)
      expect(responses).to.have.length(6)
      const [webhook, accepted, event, deliveries, replayed, key] = responses as [Record<string, unknown>, ...Record<string, never>[]]
      expect(webhook.secret).to.match(/^whsec_/)
      expect(accepted!.data).to.include({ id: 'evt_1001' })
      expect(event!.data).to.include({ id: 'evt_1001', status: 'routed' })
      expect(deliveries!.data).to.have.length(1)
      expect(replayed!.data).to.have.length(1)
      expect(key!.data).to.include({ name: 'a consumer' })
      await waitFor(() => receiver.received('/orders').length === 2)
      expect(receiver.received('/orders')[0]?.raw).to.include('"payload":{"order": 7, "total": 12.50}')
    })
  })

  it('verifies signatures with the code that it shows for Node', async () => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
    const code = /```js\n([\s\S]*?)\n```/
      .exec(readme)?.[1]
      ?.replace('.listen(4000)', ".listen(0, '127.0.0.1', function () { console.log(this.address().port) })")
    const child = spawn(process.execPath, ['--input-type=module', '-e', code ?? ''], {
      cwd: root,
      env: { PATH: env.PATH, WEBHOOK_SECRET: secret },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    try {
      const lines: string[] = []
      createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
      const port = await waitFor(() => lines[0])
      const body = '{"id":"evt_1","event":"order.created","event_time":null,"source":null,"payload":{"order":7}}'
      const at = new Date()
      const post = async (signature: string) => {
        const headers = {
          'content-type': 'application/json',
          'webhook-id': 'evt_1',
          'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
        }
        return (
          await fetch(`http://127.0.0.1:${port}/orders`, { method: 'POST', headers: { ...headers, 'webhook-signature': signature }, body })
        ).status
      }
      expect(await post(new Webhook(secret).sign('evt_1', at, body))).to.equal(204)
      expect(await waitFor(() => lines[1])).to.match(/^evt_1 order\.created/)
      expect(await post('v1,AAAA')).to.equal(401)
    } finally {
      child.kill('SIGKILL')
    }
  })

  it('lists the steps that the demo prints', async () => {
    const { stdout } = await run(process.execPath, [join(root, 'src/cli/demo.ts')], { cwd: root })
    const steps = (text: string) => text.split('\n').filter((line) => line.startsWith('▸'))
    expect(steps(stdout)).to.deep.equal(steps(block('demo')))
    expect(steps(stdout)).to.have.length.greaterThan(6)
  })
})
