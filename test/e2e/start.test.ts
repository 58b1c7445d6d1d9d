import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { variables } from '../../src/config/config.ts'
import { freePort } from '../support/free-ports.ts'
import { runProgram } from '../support/programs.ts'
import { admin, fixedKeys } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

/** With these variables, Kolbak generates the admin client itself. */
const noAdminClient = { KOLBAK_ADMIN_CLIENT_ID: '', KOLBAK_ADMIN_CLIENT_SECRET: '' }

describe('the start of the service', () => {
  const services = withServices({ each: true })
  const { start } = services

  it('prints with --help what the service is and all variables, and starts nothing', async () => {
    const { code, out, err } = await runProgram('main.ts', ['--help'], {})
    expect({ code, err }).to.deep.equal({ code: 0, err: '' })
    expect(out).to.match(/^Usage: npm start/)
    for (const name of Object.keys(variables)) expect(out).to.match(new RegExp(`^  ${name}(?:=|$)`, 'm'))
  })
  it('refuses any other argument with a sentence, and exit code 2', async () => {
    const { code, out, err } = await runProgram('main.ts', ['--port', '3001'], {})
    expect({ code, out }).to.deep.equal({ code: 2, out: '' })
    expect(err).to.match(/^kolbak: The service takes no arguments, and got "--port": .*--help.*\n$/)
  })

  it('creates and logs keys, tenant and admin client at the first start only, and keeps secrets in private files', async () => {
    const first = await start(noAdminClient)
    const messages = first.logLines.map((line) => line.msg)
    expect(messages).to.include.members(['keys.generated', 'tenant.registered', 'admin_client.issued'])
    for (const file of ['keys.json', 'admin-client.json', 'postgres-password'])
      expect((await stat(join(services.dataDir, file))).mode & 0o777, file).to.equal(0o600)
    const generatedClient = JSON.parse(await readFile(join(services.dataDir, 'admin-client.json'), 'utf8')) as {
      client_id: string
      client_secret: string
    }
    const keys = JSON.parse(await readFile(join(services.dataDir, 'keys.json'), 'utf8')) as Record<string, string>
    const log = JSON.stringify(first.logLines)
    for (const secret of [generatedClient.client_secret, ...Object.values(keys)]) expect(log).to.not.include(secret)

    const { token } = await clientOf(first.url, { id: generatedClient.client_id, secret: generatedClient.client_secret })
    expect(await first.kill('SIGTERM')).to.equal(0)

    const second = await start(noAdminClient)
    expect(second.logLines.map((line) => line.msg)).to.not.include.members(['keys.generated'])
    const response = await fetch(`${second.url}/v1/webhooks`, { headers: { authorization: `Bearer ${token}` } })
    expect(response.status, 'a token of before the restart').to.equal(200)
  })

  it('rotates the admin client when its configured secret changes, and ends the former secret', async () => {
    const first = await start()
    const before = await clientOf(first.url)
    expect((await before.call('GET', '/v1/keys')).status).to.equal(200)
    await first.kill('SIGTERM')
    const other = 'another-secret-of-the-tests-that-is-long-enough'
    const second = await start({ KOLBAK_ADMIN_CLIENT_SECRET: other })
    await clientOf(second.url, { id: admin.id, secret: other })
    const denied = await fetch(`${second.url}/v1/auth`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ grant_type: 'client_credentials', client_id: admin.id, client_secret: admin.secret }),
    })
    expect(denied.status).to.equal(401)
  })

  it('writes no stack trace for probes of its health, and none while its database does not respond', async () => {
    const port = await freePort()
    const { child, logLines, errors, exited } = await services.spawn({ PORT: String(port) })
    const statuses = new Set<number>()
    const probe = async (path: string, init?: RequestInit) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, init).catch(() => null)
      await response?.arrayBuffer()
      if (path === '/health/ready' && response !== null) statuses.add(response.status)
      return response?.status === 200
    }
    await waitFor(async () => {
      await probe('/health/live')
      await probe('/metrics', { headers: { authorization: 'Bearer none' } })
      await probe('/health/ready', { method: 'HEAD' })
      return probe('/health/ready')
    })
    expect([...statuses]).to.deep.equal([503, 200])
    child.kill('SIGTERM')
    await exited
    const unreachable = await services.spawn({ ...fixedKeys, DATABASE_URL: `postgres://u:p@127.0.0.1:${port}/none` })
    const unavailable = await waitFor(() => unreachable.logLines.find((line) => line.msg === 'engine.unavailable'))
    expect(unavailable.reason).to.include('ECONNREFUSED')
    unreachable.child.kill('SIGTERM')
    await unreachable.exited
    for (const lines of [logLines, unreachable.logLines]) expect(JSON.stringify(lines)).to.not.include('"stack"')
    expect([...errors, ...unreachable.errors]).to.deep.equal([])
  })

  it('is followed by a 404 without retry-after for an unknown id, once no message is on its way', async () => {
    const service = await start()
    const api = await clientOf(service.url)
    await api.post('/v1/events', { id: 'known', event: 'a.b', payload: {} })
    await api.get('/v1/events/known')
    await waitFor(async () => (await api.call('GET', '/v1/events/unknown')).headers.get('retry-after') === null)
  })
})
