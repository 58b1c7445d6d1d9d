import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { commandModules } from '../../src/cli/command-modules.ts'
import { freePorts } from '../support/free-ports.ts'
import { inherited, runProgram } from '../support/programs.ts'
import { admin } from '../support/service.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const kolbak = join(import.meta.dirname, '../../src/cli/kolbak.ts')

describe('the command line', () => {
  const { service, receiver, services } = withService({ variables: { KOLBAK_RETRY_DELAYS: '0.2' } })
  const environment = () => ({ KOLBAK_URL: service.url, KOLBAK_CLIENT_ID: admin.id, KOLBAK_CLIENT_SECRET: admin.secret })
  const run = (...args: string[]) => runProgram('cli/kolbak.ts', args, environment())
  const ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run(...args)
    expect(code, `kolbak ${args.join(' ')}: ${err}`).to.equal(0)
    return out
  }
  const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await ok(...args, '--json')) as T
  const dataOf = async <T>(...args: string[]): Promise<T> => (await json<{ data: T }>(...args)).data

  it('prints help for itself and for each command', async () => {
    const help = await ok('--help')
    for (const command of commandModules.flatMap(({ commands }) => Object.keys(commands))) {
      expect(help).to.include(command)
      expect(await ok(command, '--help')).to.match(/Usage: kolbak/)
    }
  })
  it('succeeds without a command, which prints the help, and with a group alone, which prints its list', async () => {
    const { code, err } = await run()
    expect(code).to.equal(0)
    expect(err).to.match(/^Usage: kolbak/)
    for (const group of ['jobs', 'keys', 'webhooks', 'events', 'tenants']) await ok(group)
  })
  it('repeats in its hints how it was called', async () => {
    const throughNpm = { ...environment(), npm_lifecycle_event: 'kolbak' }
    const webhook = await dataOf<{ id: string }>('webhooks', 'create', receiver.url('/hints'), 'hints')
    const { out } = await runProgram('cli/kolbak.ts', ['webhooks', 'test', webhook.id], throughNpm)
    expect(out).to.match(/^sent (\S+); to see its delivery: npm run -s kolbak -- trace \1$/m)
    expect((await runProgram('cli/kolbak.ts', ['--help'], throughNpm)).out).to.match(/^Usage: npm run -s kolbak -- \[/)
    expect(await ok('webhooks', 'test', webhook.id)).to.include('delivery: kolbak trace ')
    await ok('webhooks', 'delete', webhook.id)
  })
  it('names the id that the server does not know', async () => {
    const { code, err } = await run('trace', 'evt_unknown')
    expect(code).to.equal(1)
    expect(err).to.match(
      /^kolbak: 404 not_found: There is no such resource, or it is not yours: event-id evt_unknown\. What was accepted before 20\S+Z may have expired\.\n$/,
    )
    expect(JSON.parse((await run('trace', 'evt_unknown', '--json')).out)).to.have.nested.property('error.code', 'not_found')
  })
  it('shows all that was made or changed', async () => {
    const created = await ok('webhooks', 'create', receiver.url('/shown'), 'shown.*', '--description', 'to be shown')
    const id = /^id +(\S+)$/m.exec(created)![1]!
    for (const line of [/^event +shown\.\*$/m, /^description +to be shown$/m, /^is_active +true$/m, /^secret +whsec_/m])
      expect(created).to.match(line)
    const changed = await ok('webhooks', 'update', id, '--retry-delays', '1,2')
    for (const line of [/^retry_delays +1, 2$/m, /^description +to be shown$/m]) expect(changed).to.match(line)
    expect(changed).to.not.include('whsec_')
    await ok('webhooks', 'delete', id)
    const key = await ok('keys', 'create', 'shown', '--description', 'of the test')
    for (const line of [/^key +[A-Z0-9]{12}$/m, /^description +of the test$/m, /^scopes +read:webhooks/m]) expect(key).to.match(line)
    await ok('keys', 'delete', /^id +(\S+)$/m.exec(key)![1]!)
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
    const { data: webhook } = await json<{ data: { id: string; secret: string } }>(
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
    expect(trace).to.match(/cli_1 {2}cli\.sent {2}accepted: delivered to 1$/m)
    expect(trace).to.include(`└ ${receiver.url('/cli')}  delivered after 1 attempt  (delivery `)
    expect(trace).to.match(/attempt 1 {2}success 200/)
    expect(await ok('deliveries', webhook.id)).to.include('cli_1')
    expect(await ok('events', 'show', 'cli_1'))
      .to.match(/^source +test$/m)
      .and.to.match(/^event_time +2026-01-01T00:00:00Z$/m)
      .and.to.match(/^outcome +delivered to 1$/m)
      .and.to.match(/^\{"total": 1\.10\}$/m)
    expect(await ok('events', 'show', 'cli_1', '--json')).to.include('"total": 1.10')
    expect(await ok('webhooks', 'show', webhook.id)).to.include('cli.*')
    expect(await ok('webhooks', 'update', webhook.id, '--active', 'false')).to.match(/^deactivation_reason +requested$/m)
    expect(await ok('webhooks', 'update', webhook.id, '--callback-url', receiver.url('/cli-moved'))).to.match(
      /^callback_url .*\/cli-moved$/m,
    )
    expect(await ok('webhooks')).to.include(webhook.id)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('sets and changes every field of a webhook', async () => {
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const givenOptions = ['--description', 'of the test', '--retry-delays', '5,0.5', '--secret', secret, '--active', 'false']
    const created = await dataOf<{ id: string }>('webhooks', 'create', receiver.url('/fields'), 'fields', ...givenOptions)
    expect(created).to.deep.include({ description: 'of the test', retry_delays: [5, 0.5], secret, is_active: false })
    const change = ['--event', 'fields.*', '--description', 'changed', '--retry-delays', '9', '--active', 'true']
    const changed = await dataOf('webhooks', 'update', created.id, ...change)
    expect(changed).to.deep.include({ event: 'fields.*', description: 'changed', retry_delays: [9], is_active: true })
    const cleared = await dataOf('webhooks', 'update', created.id, '--no-description', '--no-retry-delays')
    expect(cleared).to.deep.include({ description: null, retry_delays: null })
    expect(await ok('webhooks', 'history', created.id)).to.include('retry_delays: [5,0.5] → [9]')
    await ok('webhooks', 'delete', created.id)
  })
  it('lists dead letters and replays them', async () => {
    receiver.setResponse('/dead', 400)
    const webhook = await dataOf<{ id: string }>('webhooks', 'create', receiver.url('/dead'), 'dead')
    await ok('send', 'dead', '--id', 'dead_1')
    const [dead] = await waitFor(async () => {
      const rows = await dataOf<{ id: string }[]>('dead-letters', '--webhook', webhook.id)
      return rows.length > 0 ? rows : null
    })
    receiver.setResponse('/dead', 200)
    expect(await ok('replay', dead!.id)).to.match(new RegExp(`pending[^]*accepted; to see its attempts: kolbak delivery ${dead!.id}`))
    await waitFor(async () => (await dataOf<{ status: string }[]>('deliveries', webhook.id))[0]?.status === 'success')
    await ok('webhooks', 'delete', webhook.id)
  })
  it('replays the deliveries that a webhook missed, shows the job, and refuses to cancel a finished job', async () => {
    receiver.setResponse('/missed', 400)
    const webhook = await dataOf<{ id: string }>('webhooks', 'create', receiver.url('/missed'), 'missed')
    await ok('send', 'missed', '--id', 'missed_1')
    await waitFor(async () => (await dataOf<{ status: string }[]>('deliveries', webhook.id))[0]?.status === 'failed')
    receiver.setResponse('/missed', 200)
    const { data: job } = await json<{ data: { id: string } }>('webhooks', 'replay', webhook.id, '--since', '2026-01-01T00:00:00Z')
    await waitFor(async () => /completed .* 1 +0$/m.test(await ok('jobs', 'show', job.id)))
    await waitFor(() => receiver.received('/missed').length === 2)
    expect((await run('jobs', 'cancel', job.id)).err).to.match(/^kolbak: 409 job_finished: /)
    const range = ['--since', '2026-01-01T00:00:00Z', '--until', '2026-01-02T00:00:00Z', '--status', 'success']
    expect(await ok('webhooks', 'replay', webhook.id, ...range)).to.match(/running[\s\S]*to see its progress: kolbak jobs show /)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('lists events, shows the history of a webhook, explains a match, sends a test event, and rotates the secret', async () => {
    const webhook = await dataOf<{ id: string; secret: string }>('webhooks', 'create', receiver.url('/audit'), 'audit.*')
    await ok('webhooks', 'update', webhook.id, '--event', 'audited.*')
    await ok('send', 'audit.sent', '--id', 'audit_1')
    const history = await ok('webhooks', 'history', webhook.id)
    expect(history).to.match(/WebhookCreated[\s\S]*WebhookChanged[\s\S]*audit\.\* → audited\.\*/)
    expect(await ok('events', '--event', 'audit.sent')).to.include('audit_1')
    expect(await ok('events', 'explain', 'audit_1', webhook.id)).to.include('(pattern)')
    expect(await ok('audit', '--family', 'webhook')).to.include(webhook.id)
    expect(await ok('webhooks', 'test', webhook.id)).to.match(/^sent /)
    await waitFor(() => receiver.received('/audit').length === 1)
    expect(await ok('webhooks', 'rotate-secret', webhook.id, '--overlap', '0')).to.match(/^secret {2}whsec_/)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('shows in `trace` and in the list of events that an id was used again with other content', async () => {
    await ok('send', 'reused', '{"n": 1}', '--id', 'reused_1')
    await waitFor(async () => (await run('trace', 'reused_1')).code === 0)
    await ok('send', 'reused', '{"n": 2}', '--id', 'reused_1')
    const trace = await waitFor(async () => {
      const text = await ok('trace', 'reused_1')
      return text.includes('ID USED AGAIN') ? text : null
    })
    expect(trace).to.match(
      /accepted: no webhook matched\n! ID USED AGAIN: other content was posted under this id 1 time \(20.*\), and was rejected/,
    )
    expect(await ok('events', '--event', 'reused')).to.match(/reused_1 +reused +no webhook matched; ID USED AGAIN/)
    expect(await ok('events', 'show', 'reused_1')).to.include('ID USED AGAIN')
  })
  it('describes the state of each delivery in words, with its URL', async () => {
    receiver.setResponse('/words-fail', 503)
    receiver.setResponse('/words-refuse', 400)
    const ids: string[] = []
    for (const path of ['/words', '/words-fail', '/words-refuse'])
      ids.push((await dataOf<{ id: string }>('webhooks', 'create', receiver.url(path), 'words', '--retry-delays', '3600')).id)
    await ok('send', 'words', '--id', 'words_1')
    const words = 'given up at 1, failing at 1, delivered to 1'
    const trace = await waitFor(async () => {
      const text = await ok('trace', 'words_1')
      return text.includes(words) ? text : null
    })
    expect(trace).to.match(new RegExp(`${receiver.url('/words-fail')}  failing after 1 attempt \\(.*\\); the next one is at 20`))
    expect(trace).to.match(new RegExp(`${receiver.url('/words-refuse')}  given up after 1 attempt`))
    expect(await ok('events', '--event', 'words')).to.include(words)
    expect(await ok('deliveries', ids[1]!)).to.include(receiver.url('/words-fail'))
    for (const id of ids) await ok('webhooks', 'delete', id)
    expect(await ok('trace', 'words_1')).to.include(`deleted webhook ${ids[0]}`)
  })
  it('manages tenants, their clients and rotated keys, posts batches, and shows the state of the server', async () => {
    const tenant = await dataOf<{ id: string; limits: object }>('tenants', 'create', 'a customer', '--limits-webhooks', '5')
    expect(tenant.limits).to.include({ webhooks: 5 })
    const changed = await dataOf<{ limits: object }>(
      'tenants',
      'update',
      tenant.id,
      '--no-limits-webhooks',
      '--limits-events-per-second',
      '9',
    )
    expect(changed.limits).to.include({ webhooks: null, events_per_second: 9 })
    expect(await ok('tenants')).to.include('a customer')
    const client = await dataOf<{ client_id: string; client_secret: string }>(
      ...['clients', 'issue', tenant.id, 'a producer', '--scopes', 'write:events,read:events'],
    )
    expect(await ok('clients', 'list', tenant.id)).to.include('a producer')
    const asClient = ['--client-id', client.client_id, '--client-secret', client.client_secret]
    await ok('send', 'x', ...asClient)
    const rotated = await dataOf<{ client_secret: string }>('clients', 'rotate-secret', tenant.id, client.client_id, '--overlap', '0')
    expect(rotated.client_secret).to.not.equal(client.client_secret)
    await ok('clients', 'revoke', tenant.id, client.client_id)
    await ok('tenants', 'suspend', tenant.id)
    await ok('tenants', 'resume', tenant.id)
    const key = await dataOf<{ id: string; key: string }>('keys', 'create', 'rotating')
    expect((await dataOf<{ key: string }>('keys', 'rotate', key.id, '--overlap', '0')).key).to.not.equal(key.key)
    await ok('keys', 'delete', key.id, '--webhooks', 'deactivate')

    const file = join(service.dataDir, 'events.ndjson')
    await writeFile(file, '{"id":"batch_1","event":"batch","payload":{"n":1.50}}\n{"id":"batch_2","event":"batch","payload":{}}\n')
    expect(await ok('send-batch', file)).to.equal('accepted 2 events\n')
    await waitFor(async () => (await run('events', 'show', 'batch_1')).out.includes('{"n":1.50}'))
    expect(await ok('health')).to.match(/^ready\n✔ /)
    expect(await ok('live')).to.include('live')
    expect(await ok('metrics')).to.include('kolbak_messages_routed_total')
    expect(await ok('index')).to.include('/docs/')
    expect(await json('openapi')).to.have.nested.property('data.openapi', '3.1.0')
  })
  it('has the same envelope for programs in each command, errors included', async () => {
    const webhook = await dataOf<{ id: string }>('webhooks', 'create', receiver.url('/shape'), 'shape')
    for (const args of [
      ['keys'],
      ['webhooks', 'show', webhook.id],
      ['events'],
      ['dead-letters'],
      ['audit'],
      ['token'],
      ['health'],
      ['metrics'],
    ])
      expect(Object.keys(await json<object>(...args)), args.join(' ')).to.deep.equal(['data', 'error', 'pagination'])
    await json('webhooks', 'delete', webhook.id)
    const missing = await run('webhooks', 'show', webhook.id, '--json')
    expect(missing.code).to.equal(1)
    expect(JSON.parse(missing.out)).to.have.nested.property('error.code', 'not_found')
  })
  it('lists as many rows as are asked for, over several pages', async () => {
    for (let i = 0; i < 3; i++)
      await writeFile(
        join(service.dataDir, `many-${i}`),
        JSON.stringify(Array.from({ length: 50 }, () => ({ event: 'many', payload: {} }))),
      )
    for (let i = 0; i < 3; i++) await ok('send-batch', join(service.dataDir, `many-${i}`))
    await waitFor(async () => (await dataOf<object[]>('events', '--event', 'many', '--limit', '1000')).length === 150)
    const page = await json<{ data: object[]; pagination: object }>('events', '--limit', '120')
    expect(page.data).to.have.length(120)
    expect(page.pagination).to.have.keys('limit', 'next_cursor')
  })
  it('refuses every value that the schema does not allow, with a sentence and exit code 2', async () => {
    const webhook = await dataOf<{ id: string }>('webhooks', 'create', receiver.url('/strict'), 'strict')
    for (const args of [
      ['webhooks', 'update', webhook.id, '--active', 'True'],
      ['send', 'x', '{not json'],
      ['listen', '--forward-to', 'localhost:3000/hook'],
      ['send-batch', '/nowhere'],
      ['nonsense'],
      ['--url', 'nonsense', 'keys'],
    ]) {
      const { code, err } = await run(...args)
      expect(code, args.join(' ')).to.equal(2)
      expect(err, args.join(' ')).to.match(/^(error|kolbak): .{10,}/)
    }
    expect(await ok('webhooks', 'show', webhook.id)).to.match(/^is_active +true$/m)
    await ok('webhooks', 'delete', webhook.id)
  })
  it('takes at most nine times the processor time of an empty program, which is less than half a second on a usual machine', async () => {
    const report = `process.on('exit', () => { const { user, system } = process.cpuUsage(); console.error((user + system) / 1000) })`
    const variables = { ...environment(), NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(report)}` }
    const timesOf = { empty: [] as number[], webhooks: [] as number[] }
    for (let i = 0; i < 4; i++) {
      const { stderr } = spawnSync(process.execPath, ['-e', ''], { env: { ...inherited, ...variables } })
      timesOf.empty.push(Number(stderr))
      timesOf.webhooks.push(Number((await runProgram('cli/kolbak.ts', ['webhooks'], variables)).err))
    }
    const [emptyMs, webhooksMs] = [Math.min(...timesOf.empty), Math.min(...timesOf.webhooks)]
    expect(emptyMs).to.be.above(0)
    expect(webhooksMs, `beside ${emptyMs} ms`)
      .to.be.above(0)
      .and.below(9 * emptyMs)
  })

  describe('listen', () => {
    const children = new Set<ChildProcess>()
    afterEach(() => {
      for (const child of children) child.kill('SIGKILL') // a failed test may have left them
      children.clear()
    })
    /** Starts `listen`. Each line that it prints is in `lines`. */
    const listen = async (args: string[], variables: Record<string, string> = {}) => {
      const child = spawn(process.execPath, [kolbak, 'listen', ...args], {
        env: { ...inherited, ...environment(), ...variables },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      children.add(child)
      const lines: string[] = []
      createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
      const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
      const first = await waitFor(() => lines[0] ?? (child.exitCode !== null ? 'it has ended' : undefined))
      const webhook = /[0-9A-HJKMNP-TV-Z]{26}/.exec(first)?.[0] ?? ''
      return { child, lines, ended, webhook }
    }
    const expectRemoved = async (webhook: string) => expect((await run('webhooks', 'show', webhook)).err).to.include('404 not_found')

    it('prints each request on one line of JSON for programs', async () => {
      const { child, lines, ended, webhook } = await listen(['heard.*', '--json'])
      const id = ulid()
      await ok('send', 'heard.it', '{"n":1}', '--id', id)
      const received = await waitFor(() => lines[1])
      expect(JSON.parse(received).data).to.include({ id, attempt: 1, verified: true })
      child.kill('SIGINT')
      expect(await ended).to.equal(0)
      await expectRemoved(webhook)
    })
    it('prints each event readably, with the numbers of the payload as they were posted', async () => {
      const { child, lines, ended } = await listen(['heard.*'])
      const id = ulid()
      await ok('send', 'heard.it', '{"total":12.50}', '--id', id)
      await waitFor(() => lines.length >= 3)
      expect(lines[1]?.replace(id, '<id>')).to.match(/^✔ \d\d:\d\d:\d\d {2}heard\.it {2}<id> {2}attempt 1 → 200$/)
      expect(lines[2]).to.equal('  {"total":12.50}')
      await waitFor(async () => (await ok('events', 'deliveries', id)).includes('success'))
      await ok('events', 'replay', id)
      await waitFor(() => lines.some((line) => line.endsWith(`${id}  replay 1, attempt 1 → 200`)))
      child.kill('SIGTERM')
      expect(await ended).to.equal(0)
    })
    it('passes requests on with their headers and bytes, and responds as the receiver does', async () => {
      receiver.setResponse('/forward', 503)
      const { child, lines, ended, webhook } = await listen(['forwarded', '--forward-to', receiver.url('/forward')])
      const id = ulid()
      await ok('send', 'forwarded', '{"n":1.0}', '--id', id)
      await waitFor(() => lines.some((line) => line.endsWith('attempt 1 → 503')))
      receiver.setResponse('/forward', 204)
      await waitFor(() => lines.some((line) => line.endsWith('attempt 2 → 204')))
      const request = receiver.received('/forward').find(({ headers }) => headers['webhook-id'] === id)
      expect(request?.headers['webhook-signature']).to.match(/^v1,/)
      expect(request?.raw).to.include('"payload":{"n":1.0}')
      await waitFor(async () => (await ok('deliveries', webhook)).includes('success'))
      child.kill('SIGINT')
      await ended
    })
    it('responds with 502 when the receiver to which requests are passed on does not respond', async () => {
      const [port] = await freePorts(1)
      const { child, lines, ended } = await listen(['unforwarded', '--forward-to', `http://127.0.0.1:${port}/`])
      await ok('send', 'unforwarded')
      await waitFor(() => lines.some((line) => /attempt 1 → 502 \(127\.0\.0\.1:\d+ does not respond: ECONNREFUSED\)$/.test(line)))
      child.kill('SIGINT')
      await ended
    })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      it(`removes its webhook at ${signal}, even when the signal comes twice as from npm`, async () => {
        const { child, ended, webhook } = await listen(['ending'])
        child.kill(signal)
        child.kill(signal)
        expect(await ended).to.equal(0)
        await expectRemoved(webhook)
      })
    it('removes the webhook of an earlier call that was killed', async () => {
      const killed = await listen(['killed'])
      killed.child.kill('SIGKILL')
      await killed.ended
      const { child, ended } = await listen(['killed'])
      await waitFor(async () => (await run('webhooks', 'show', killed.webhook)).err.includes('404 not_found'))
      child.kill('SIGINT')
      await ended
    })
    it('removes its webhook when its output is closed', async () => {
      const { child, webhook } = await listen(['closing'])
      child.stdout?.destroy()
      await ok('send', 'closing')
      await waitFor(async () => (await run('webhooks', 'show', webhook)).err.includes('404 not_found'))
    })
    it('names `npm run dev` when Kolbak does not call receivers on this machine', async () => {
      const refusing = await services.start({ KOLBAK_ALLOWED_SUBNETS: '' })
      const { code, err } = await runProgram('cli/kolbak.ts', ['listen'], { ...environment(), KOLBAK_URL: refusing.url })
      expect(code).to.equal(1)
      expect(err).to.match(/^kolbak: .* start it with: npm run dev\n$/)
    })
  })
  it('prints one sentence for an error, and exits with 1', async () => {
    const missing = await run('webhooks', 'show', '01ARZ3NDEKTSV4RRFFQ69G5FAV')
    expect(missing).to.include({ code: 1 })
    expect(missing.err).to.match(/^kolbak: 404 not_found: /)
    expect((await run('webhooks', 'create', 'ftp://x', 'a')).err).to.include('callback_url: ')
    const unreachable = await run('--url', 'http://127.0.0.1:1', 'keys')
    expect(unreachable.err).to.include('No server responds on http://127.0.0.1:1')
    expect((await run('--client-secret', 'wrong', 'keys')).err).to.include('401 invalid_client')
  })
})
