import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { expect } from 'chai'
import { expectArrival } from '../support/expectations.ts'
import { startLoad } from '../support/load.ts'
import { failures } from '../support/receiver.ts'
import type { RunningService } from '../support/service.ts'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('several processes under a supervisor', () => {
  const services = withServices({
    each: true,
    variables: {
      KOLBAK_PROCESSES: '2',
      // Leases last longer than the test. So a new worker must release the leases of the dead one instead of waiting for their end.
      KOLBAK_LEASE_MS: '600000',
      KOLBAK_REQUEST_TIMEOUT_MS: '50000',
      KOLBAK_DRAIN_TIMEOUT_MS: '120000',
    },
  })
  const { receiver, start } = services
  const linesOf = ({ logLines }: RunningService, msg: string) => logLines.filter((line) => line.msg === msg)
  const workersOf = (running: RunningService) => linesOf(running, 'worker.ready').map(({ worker }) => Number(worker))
  const subscribe = (api: Client) => api.post('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'load.*' })
  const post = (api: Client, url: string, from = 0) => startLoad(url, `Bearer ${api.token}`, { perSecond: 100, from })
  const ids = () => receiver.received('/hook').map((request) => String(request.headers['webhook-id']))
  const postgresRuns = () =>
    stat(join(services.dataDir, 'postgres', 'postmaster.pid')).then(
      () => true,
      () => false,
    )

  it('share one port, deliver each message once, report common metrics, and drain together', async () => {
    const running = await start()
    expect(linesOf(running, 'kolbak.ready')).to.have.length(1)
    expect(linesOf(running, 'kolbak.ready')[0]).to.include({ pid: running.child.pid, processes: 2 })
    const workers = workersOf(running)
    const api = await clientOf(running.url)
    await subscribe(api)
    const posting = post(api, running.url)
    await waitFor(() => posting.accepted.length > 100)
    await posting.stop()
    await expectArrival(receiver, '/hook', posting.accepted)
    const serving = new Set(linesOf(running, 'http.request').map(({ worker }) => worker))
    expect([...serving]).to.have.members(workers)
    expect(ids()).to.have.length(new Set(ids()).size)

    const count = posting.accepted.length
    const sums = [
      `kolbak_messages_routed_total{result="routed"} ${count}`,
      `kolbak_attempts_total{outcome="success"} ${count}`,
      'kolbak_records_unread 0', // this is no sum, because each process counts the records of all processes
    ]
    const measured = async () => (await fetch(`${running.url}/metrics`, { headers: { authorization: `Bearer ${api.token}` } })).text()
    await waitFor(async () => {
      const lines = (await measured()).split('\n')
      return sums.every((line) => lines.includes(line))
    })

    // Ctrl-C in a terminal sends the signal to all processes.
    for (const pid of workers) process.kill(pid, 'SIGINT')
    expect(await running.kill('SIGINT')).to.equal(0)
    expect(linesOf(running, 'kolbak.stopped').map(({ worker }) => worker)).to.have.members([...workers, undefined])
    expect(linesOf(running, 'worker.died')).to.deep.equal([])
    expect(await postgresRuns()).to.equal(false)
  })

  it('lose nothing when a worker or the supervisor is killed, and end at once on a second signal', async () => {
    const first = await start()
    const api = await clientOf(first.url)
    await subscribe(api)
    const loads = [post(api, first.url)]
    await waitFor(() => loads[0]!.accepted.length > 50)
    const [victim] = workersOf(first)
    process.kill(victim!, 'SIGKILL')
    await waitFor(() => workersOf(first).length === 3, { what: 'another worker' })
    expect(linesOf(first, 'worker.died')).to.have.length(1)
    expect(linesOf(first, 'worker.died')[0]).to.include({ worker: victim, signal: 'SIGKILL' })
    const before = loads[0]!.accepted.length
    await waitFor(() => loads[0]!.accepted.length > before + 50)

    await first.kill('SIGKILL')
    await loads[0]!.stop()
    // The workers must end too, because without a supervisor a dead worker or Postgres would never be started again.
    const orphans = workersOf(first).slice(1)
    await waitFor(() => linesOf(first, 'kolbak.stopped').length === 2)
    expect(linesOf(first, 'kolbak.stopped').map(({ worker }) => worker)).to.have.members(orphans)

    const second = await start()
    expect(linesOf(second, 'postgres.started')[0]).to.include({ tookOver: true })
    loads.push(post(api, second.url, 10_000))
    await waitFor(() => loads[1]!.accepted.length > 20)
    await loads[1]!.stop()
    await expectArrival(
      receiver,
      '/hook',
      loads.flatMap(({ accepted }) => accepted),
    )

    receiver.setResponse('/hook', failures.hangs)
    const seen = receiver.received('/hook').length
    const secondClient = await clientOf(second.url)
    await secondClient.post('/v1/events', { event: 'load.posted', payload: {} })
    await waitFor(() => receiver.received('/hook').length > seen)
    const closed = once(second.child, 'close') // this resolves when all processes that write to the output have ended
    second.child.kill('SIGTERM')
    await waitFor(() => linesOf(second, 'kolbak.draining').length === 3)
    // A signal that follows the first one closely counts as the same signal. So signals are sent until one counts as the second.
    await waitFor(() => {
      second.child.kill('SIGTERM')
      return second.child.exitCode !== null
    })
    expect(second.child.exitCode).to.equal(1)
    await closed
    // The worker without a request may have stopped between the two signals. The other worker and the supervisor ended at the second signal.
    const stopped = linesOf(second, 'kolbak.stopped').map(({ worker }) => worker)
    expect(stopped).to.have.length.at.most(1).and.not.include(undefined)
  })

  it('end with 78 and one sentence when they cannot start as configured', async () => {
    const otherServer = createServer().listen(0, '127.0.0.1')
    await once(otherServer, 'listening')
    const PORT = String((otherServer.address() as AddressInfo).port)
    const { code, stderr } = await services.failToStart({ PORT })
    expect(code).to.equal(78)
    otherServer.close()
    expect(stderr.split('\n').filter((line) => line.startsWith('kolbak: '))).to.have.length(1)
    expect(stderr).to.include(`cannot listen on 127.0.0.1:${PORT}`)
    expect(await postgresRuns()).to.equal(false)
  })
})
