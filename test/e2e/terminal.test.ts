import { chmod, mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { Received } from '../support/receiver.ts'
import { admin, copyInitialised, removeFolder } from '../support/service.ts'
import { allDeliveries, type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { closeTerminals, openTerminal, pseudoTerminals, type Terminal } from '../support/terminal.ts'
import { waitFor } from '../support/wait-for.ts'
import { withReceiver } from '../support/with-services.ts'

const root = join(import.meta.dirname, '../..')

describe('in a terminal', () => {
  before(function () {
    if (pseudoTerminals === null) {
      console.warn('Skipped: @lydell/node-pty has no binary for this platform.')
      this.skip()
    }
  })
  const receiver = withReceiver({ each: true })
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kolbak-terminal-'))
  })
  afterEach(async () => {
    closeTerminals()
    await removeFolder(folder)
  })
  const npm = (script: string, variables: Record<string, string> = {}) =>
    openTerminal('npm', ['run', ...script.split(' ')], {
      cwd: root,
      variables: {
        PORT: '0',
        KOLBAK_PROCESSES: '1',
        KOLBAK_DATA_DIR: folder,
        KOLBAK_ADMIN_CLIENT_ID: admin.id,
        KOLBAK_ADMIN_CLIENT_SECRET: admin.secret,
        KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
        ...variables,
      },
    })
  const urlOf = async (terminal: Terminal): Promise<string> => {
    const [url] = await terminal.printed(/http:\/\/127\.0\.0\.1:\d+/)
    await waitFor(async () => (await fetch(`${url}/health/ready`)).status === 200, { what: `the service to be ready:\n${terminal.text()}` })
    return url
  }
  const postgresPid = async (): Promise<number> => Number.parseInt(await readFile(join(folder, 'postgres/postmaster.pid'), 'utf8'), 10)
  const isAlive = (pid: number): boolean => {
    try {
      process.kill(pid, 0)
      return true
    } catch {
      return false
    }
  }
  /** Starts 8 deliveries, whose responses wait until `finish` is called. */
  const bringInFlight = async (api: Client) => {
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    receiver.setResponse('/slow', (_request: Received, response) => {
      finished.then(() => response.writeHead(200).end())
    })
    const webhook = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/slow'), event: 'slow' })
    for (let i = 0; i < 8; i++) await api.post('/v1/events', { id: `evt_${i}`, event: 'slow', payload: {} })
    await waitFor(() => receiver.received('/slow').length === 8)
    return { webhook, finish }
  }

  for (const [script, processes, how, end] of [
    ['start', '1', 'Ctrl-C', (terminal: Terminal) => terminal.pressCtrlC()],
    ['start', '2', 'Ctrl-C', (terminal: Terminal) => terminal.pressCtrlC()],
    ['dev', '1', 'Ctrl-C', (terminal: Terminal) => terminal.pressCtrlC()],
    ['start', '1', 'SIGTERM to the process group', (terminal: Terminal) => terminal.signalGroup('SIGTERM')],
  ] as const)
    it(`drains \`npm run ${script}\` with ${processes} process(es) at ${how}: nothing is sent twice, and Postgres stops`, async () => {
      const variables = { KOLBAK_PROCESSES: processes }
      await copyInitialised(folder)
      const terminal = npm(script, variables)
      const { webhook, finish } = await bringInFlight(await clientOf(await urlOf(terminal)))
      const postgres = await postgresPid()
      end(terminal)
      await terminal.printed(/finishes the requests in flight/)
      finish()
      await terminal.ended
      expect(terminal.text())
        .to.match(/stopped/i)
        .and.not.to.match(/killed|drain_failed/)
      await waitFor(() => !isAlive(postgres), { what: 'Postgres to stop' })

      const secondStart = npm(script, variables)
      const api = await clientOf(await urlOf(secondStart))
      const deliveries = await waitFor(async () => {
        const rows = await allDeliveries(api, webhook.id, 'success')
        return rows.length === 8 ? rows : null
      })
      expect(deliveries.map(({ attempts }) => attempts.length)).to.deep.equal(Array(8).fill(1))
      expect(receiver.received('/slow')).to.have.length(8)
      secondStart.pressCtrlC()
      await secondStart.ended
    })

  it('prints lines for people at the start, and then what to do next', async () => {
    const terminal = npm('start', { KOLBAK_ALLOWED_SUBNETS: '' })
    const url = await urlOf(terminal)
    await terminal.printed(/Stop +Ctrl-C\n/)
    expect(terminal.text()).to.match(/first start.* 5 s[\s\S]*ready on/)
    const lines = terminal.text().split('\n')
    expect(lines.filter((line) => line.startsWith('{') || line.length > 300)).to.deep.equal([])
    expect(terminal.text())
      .to.match(new RegExp(`Kolbak is ready on ${url}\n[^]*${url}/docs/[^]*admin;[^]*npm run dev`))
      .and.not.include('KOLBAK_LEASE_MS')
    expect((await fetch(`${url}/docs/`)).status).to.equal(200)
    // The printed link signs in to the dashboard once.
    const start = /Dashboard +http\S+\/ui\/#start=([\w-]{43})\s/.exec(terminal.text())?.[1]
    const signIn = () =>
      fetch(`${url}/ui/session`, {
        method: 'POST',
        headers: { 'x-kolbak-ui': '1', 'content-type': 'application/json' },
        body: JSON.stringify({ start }),
      })
    const [first, second] = [await signIn(), await signIn()]
    expect([first.status, second.status]).to.deep.equal([204, 401])
    const cookie = first.headers.get('set-cookie')?.split(';')[0] ?? ''
    const me = await fetch(`${url}/v1/me`, { headers: { cookie, 'x-kolbak-ui': '1' } })
    expect((await me.json()) as object).to.have.nested.property('data.name', 'admin')
    terminal.pressCtrlC()
    await terminal.ended
  })
  it('says in one line that `npm run dev` allows receivers on this machine, and allows them', async () => {
    await copyInitialised(folder)
    const terminal = npm('dev', { KOLBAK_ALLOWED_SUBNETS: '10.0.0.0/8', KOLBAK_PROCESSES: '2' })
    const api = await clientOf(await urlOf(terminal))
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '10.1.2.3'])
      await api.post('/v1/webhooks', { callback_url: `http://${host}:4000/`, event: '*' })
    expect(terminal.text().match(/^Development: .*127\.0\.0\.0\/8.*$/gm)).to.have.length(1)
    terminal.pressCtrlC()
    await terminal.ended
  })
  it('prints in `npm run dev` a line for each posted event and each delivery', async () => {
    await copyInitialised(folder)
    const terminal = npm('dev')
    const api = await clientOf(await urlOf(terminal))
    await api.post('/v1/webhooks', { callback_url: receiver.url('/dev'), event: '*' })
    await api.post('/v1/events', { id: 'evt_dev', event: 'order.created', payload: {} })
    await terminal.printed(/request: postEvent → 202/)
    await terminal.printed(/delivery: evt_dev to .*, attempt 1 → 200/)
    terminal.pressCtrlC()
    await terminal.ended
  })
  it('names `npm run dev` when a normal start refuses a receiver on this machine', async () => {
    await copyInitialised(folder)
    const terminal = npm('start', { KOLBAK_ALLOWED_SUBNETS: '' })
    const api = await clientOf(await urlOf(terminal))
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
      const refused = await api.call<object>('POST', '/v1/webhooks', { callback_url: `http://${host}:4000/`, event: '*' })
      expect(refused.status).to.equal(422)
      expect(JSON.stringify(refused.body)).to.include('npm run dev')
    }
    terminal.pressCtrlC()
    await terminal.ended
  })
  it('ends at once when Ctrl-C is pressed again, and leaves no Postgres running', async () => {
    await copyInitialised(folder)
    const terminal = npm('start')
    await bringInFlight(await clientOf(await urlOf(terminal)))
    const postgres = await postgresPid()
    terminal.pressCtrlC()
    const drainingAt = performance.now()
    await terminal.printed(/finishes the requests in flight/)
    await waitFor(() => performance.now() - drainingAt > 1_500)
    terminal.pressCtrlC()
    await terminal.ended
    expect(terminal.text()).to.include('kolbak.killed')
    await waitFor(() => !isAlive(postgres), { what: 'Postgres to stop' })
  })
  it('drains when the window is closed', async () => {
    await copyInitialised(folder)
    const terminal = npm('start')
    const url = await urlOf(terminal)
    const { finish } = await bringInFlight(await clientOf(url))
    const postgres = await postgresPid()
    terminal.close()
    await waitFor(
      () =>
        fetch(url).then(
          () => false,
          () => true,
        ),
      { what: 'the service to refuse requests' },
    )
    expect(isAlive(postgres), 'Postgres runs until the deliveries are done').to.equal(true)
    finish()
    await waitFor(() => !isAlive(postgres), { what: 'Postgres to stop' })
    expect(receiver.received('/slow')).to.have.length(8)
  })
  it('stops the Postgres that a command of the operator has started, at Ctrl-C', async () => {
    await copyInitialised(folder)
    const initialising = npm('start')
    await urlOf(initialising)
    initialising.pressCtrlC()
    await initialising.ended
    const terminal = npm('operate -- backlog')
    const postgres = await waitFor(postgresPid, { what: 'Postgres to start' })
    terminal.pressCtrlC()
    await terminal.ended
    await waitFor(() => !isAlive(postgres), { what: 'Postgres to stop' })
  })
  for (const moment of [/Starting Kolbak/, /ready on/, /attempt 1/])
    it(`ends \`npm run demo\` at Ctrl-C after ${moment.source}, and removes its folder and its Postgres`, async () => {
      await chmod(folder, 0o711) // the user postgres must be able to pass through the folder
      const terminal = npm('demo', { TMPDIR: folder })
      await terminal.printed(moment)
      const [dataDir = ''] = (await readdir(folder)).filter((name) => name.startsWith('kolbak-demo-'))
      const pid = Number.parseInt(await readFile(join(folder, dataDir, 'postgres/postmaster.pid'), 'utf8').catch(() => ''), 10)
      terminal.pressCtrlC()
      await terminal.ended
      expect((await readdir(folder)).filter((name) => name.startsWith('kolbak-demo-'))).to.deep.equal([])
      if (pid > 0) await waitFor(() => !isAlive(pid), { what: 'Postgres to stop' })
    })
})
