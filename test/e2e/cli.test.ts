import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'chai'
import { inherited, runProgram } from '../support/programs.ts'
import { admin } from '../support/service.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const kolbak = join(import.meta.dirname, '../../src/cli/kolbak.ts')

describe('the command line', () => {
  const { service, receiver } = withService({ variables: { KOLBAK_RETRY_DELAYS: '0.2' } })
  const environment = () => ({ KOLBAK_URL: service.url, KOLBAK_CLIENT_ID: admin.id, KOLBAK_CLIENT_SECRET: admin.secret })
  const run = (...args: string[]) => runProgram('cli/kolbak.ts', args, environment())
  const ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run(...args)
    expect(code, `kolbak ${args.join(' ')}: ${err}`).to.equal(0)
    return out
  }
  const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await ok(...args, '--json')) as T

  it('prints help for itself and for each command', async () => {
    const help = await ok('--help')
    for (const command of [
      'token',
      'keys',
      'webhooks',
      'send',
      'events',
      'deliveries',
      'dead-letters',
      'replay',
      'jobs',
      'history',
      'trace',
      'listen',
    ]) {
      expect(help).to.include(command)
      expect(await ok(command, '--help')).to.match(/Usage: kolbak/)
    }
  })
  it('prints a token that the API accepts', async () => {
    const token = (await ok('token')).trim()
    expect((await fetch(`${service.url}/v1/keys`, { headers: { authorization: `Bearer ${token}` } })).status).to.equal(200)
  })
  it('creates, lists and deletes keys', async () => {
    const created = await json<{ data: { id: string; key: string } }>('keys', 'create', 'a consumer')
    expect(created.data.key).to.match(/^[A-Z0-9]{12}$/)
    expect(await ok('keys', 'list')).to.include('a consumer')
    await ok('keys', 'delete', created.data.id)
    expect(await ok('keys')).to.not.include(created.data.id)
  })
  it('creates a webhook, sends an event, and traces its delivery', async () => {
    const webhook = await json<{ id: string; secret: string }>(
      'webhooks',
      'create',
      receiver.url('/cli'),
      'cli.*',
      '--description',
      'of the test',
    )
    receiver.verify('/cli', webhook.secret)
    expect(
      await ok('send', 'cli.sent', '{"total": 1.10}', '--id', 'cli_1', '--source', 'test', '--event-time', '2026-01-01T00:00:00Z'),
    ).to.equal('accepted cli_1\n')
    const [request] = await waitFor(() => (receiver.received('/cli').length > 0 ? receiver.received('/cli') : null))
    expect(request?.verified).to.equal(true)
    expect(request?.raw).to.include('"payload":{"total": 1.10}')
    const trace = await waitFor(async () => {
      const text = await ok('trace', 'cli_1')
      return text.includes('success') ? text : null
    })
    expect(trace).to.match(/cli_1 {2}cli\.sent {2}accepted, routed/)
    expect(trace).to.match(/attempt 1 {2}success 200/)
    expect(await ok('deliveries', webhook.id)).to.include('cli_1')
    expect(await ok('events', 'show', 'cli_1'))
      .to.include('"source": "test"')
      .and.to.include('"event_time": "2026-01-01T00:00:00Z"')
    expect(await ok('webhooks', 'show', webhook.id)).to.include('cli.*')
    expect(await ok('webhooks', 'update', webhook.id, '--active', 'false')).to.include('inactive (requested)')
    expect(await ok('webhooks', 'update', webhook.id, '--callback-url', receiver.url('/cli-moved'))).to.include('/cli-moved')
    expect(await ok('webhooks')).to.include(webhook.id)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('sets and changes every field of a webhook', async () => {
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const given = ['--description', 'of the test', '--retry-delays', '5,0.5', '--secret', secret, '--inactive']
    const created = await json<{ id: string }>('webhooks', 'create', receiver.url('/fields'), 'fields', ...given)
    expect(created).to.deep.include({ description: 'of the test', retry_delays: [5, 0.5], secret, is_active: false })
    const change = ['--event', 'fields.*', '--description', 'changed', '--retry-delays', '9', '--active', 'true']
    const changed = await json('webhooks', 'update', created.id, ...change)
    expect(changed).to.deep.include({ event: 'fields.*', description: 'changed', retry_delays: [9], is_active: true })
    expect(await ok('history', 'webhook', created.id)).to.include('retry_delays: [5,0.5] → [9]')
    await ok('webhooks', 'delete', created.id)
  })
  it('lists dead letters and replays them', async () => {
    receiver.answer('/dead', 400)
    const webhook = await json<{ id: string }>('webhooks', 'create', receiver.url('/dead'), 'dead')
    await ok('send', 'dead', '--id', 'dead_1')
    const [dead] = await waitFor(async () => {
      const rows = await json<{ id: string }[]>('dead-letters', '--webhook', webhook.id)
      return rows.length > 0 ? rows : null
    })
    receiver.answer('/dead', 200)
    expect(await ok('replay', dead!.id)).to.include('pending')
    await waitFor(async () => (await json<{ status: string }[]>('deliveries', webhook.id))[0]?.status === 'success')
    await ok('webhooks', 'delete', webhook.id)
  })
  it('replays the deliveries that a webhook missed, shows the job, and refuses to cancel a finished job', async () => {
    receiver.answer('/missed', 400)
    const webhook = await json<{ id: string }>('webhooks', 'create', receiver.url('/missed'), 'missed')
    await ok('send', 'missed', '--id', 'missed_1')
    await waitFor(async () => (await json<{ status: string }[]>('deliveries', webhook.id))[0]?.status === 'failed')
    receiver.answer('/missed', 200)
    const { data: job } = await json<{ data: { id: string } }>('webhooks', 'replay', webhook.id, '--since', '2026-01-01T00:00:00Z')
    await waitFor(async () => /completed .* 1 +0$/m.test(await ok('jobs', 'show', job.id)))
    await waitFor(() => receiver.received('/missed').length === 2)
    expect((await run('jobs', 'cancel', job.id)).err).to.match(/^kolbak: 409 job_finished: /)
    const range = ['--since', '2026-01-01T00:00:00Z', '--until', '2026-01-02T00:00:00Z', '--status', 'success']
    expect(await ok('webhooks', 'replay', webhook.id, ...range)).to.match(/running[\s\S]*to see its progress: kolbak jobs show /)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('lists events, shows the history of a webhook, explains a match, sends a test event, and rotates the secret', async () => {
    const webhook = await json<{ id: string; secret: string }>('webhooks', 'create', receiver.url('/audit'), 'audit.*')
    await ok('webhooks', 'update', webhook.id, '--event', 'audited.*')
    await ok('send', 'audit.sent', '--id', 'audit_1')
    const history = await ok('history', 'webhook', webhook.id)
    expect(history).to.match(/WebhookCreated[\s\S]*WebhookChanged[\s\S]*audit\.\* → audited\.\*/)
    expect(await ok('events', '--event', 'audit.sent')).to.include('audit_1')
    expect(await ok('trace', 'audit_1', '--webhook', webhook.id)).to.include('pattern')
    expect(await ok('webhooks', 'test', webhook.id)).to.match(/^sent /)
    await waitFor(() => receiver.received('/audit').length === 1)
    expect(await ok('webhooks', 'rotate-secret', webhook.id, '--overlap', '0')).to.match(/^secret {2}whsec_/)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('with `listen` creates a webhook, verifies and prints each request, and deletes the webhook at the end', async () => {
    const child = spawn(process.execPath, [kolbak, 'listen', 'heard.*', '--json'], {
      env: { ...inherited, ...environment() },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const lines: Record<string, unknown>[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)))
    const listening = await waitFor(() => lines[0])
    await ok('send', 'heard.it', '{"n":1}', '--id', 'heard_1')
    const received = await waitFor(() => lines[1])
    expect(received).to.include({ id: 'heard_1', attempt: 1, verified: true })
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGINT')
    expect(await exited).to.equal(0)
    expect(await ok('webhooks')).to.not.include(String(listening.webhook))
  })
  it('prints one sentence for an error, and exits with 1', async () => {
    const missing = await run('webhooks', 'show', '01ARZ3NDEKTSV4RRFFQ69G5FAV')
    expect(missing).to.include({ code: 1 })
    expect(missing.err).to.match(/^kolbak: 404 not_found: /)
    expect((await run('webhooks', 'create', 'ftp://x', 'a b')).err)
      .to.include('callback_url: ')
      .and.to.include('event: ')
    expect((await run('send', 'x', '{not json')).code).to.equal(1)
    const unreachable = await run('--url', 'http://127.0.0.1:1', 'keys')
    expect(unreachable.err).to.include('No server responds on http://127.0.0.1:1')
    expect((await run('--client-secret', 'wrong', 'keys')).err).to.include('401 invalid_client')
    expect((await run('nonsense')).code).to.equal(1)
  })
})
