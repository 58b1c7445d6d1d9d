import { expect } from 'chai'
import { expectArrival, expectDelivery, expectNoRepetition, expectSuccessOfAll } from '../support/expectations.ts'
import { startLoad } from '../support/load.ts'
import { soonTakenOver } from '../support/patience.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('two processes on one database', () => {
  const processes = withServices({ each: true, sharedDatabase: true, variables: { ...soonTakenOver, KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3' } })
  const { receiver, start, subscribe } = processes

  it('share the work, deliver each message once, and accept one another’s tokens and changes', async () => {
    const [firstProcess, secondProcess] = await Promise.all([start(), start()])
    const api = await clientOf(firstProcess.url)
    const webhook = await subscribe(api, '/shared')
    const other = await fetch(`${secondProcess.url}/v1/webhooks/${webhook.id}`, { headers: { authorization: `Bearer ${api.token}` } })
    expect(other.status).to.equal(200)
    // After one process has acknowledged a webhook, events that are posted to the other process must match it.
    const loads = [
      startLoad(firstProcess.url, `Bearer ${api.token}`, { perSecond: 60 }),
      startLoad(secondProcess.url, `Bearer ${api.token}`, { perSecond: 60, from: 100_000 }),
    ]
    await waitFor(() => loads.every((l) => l.accepted.length > 120))
    await Promise.all(loads.map((l) => l.stop()))
    const accepted = loads.flatMap((l) => l.accepted)
    await expectArrival(receiver, '/shared', accepted)
    expectNoRepetition(receiver, '/shared')
    for (const { url } of [firstProcess, secondProcess]) {
      const metrics = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${api.token}` } })
      const routed = /kolbak_messages_routed_total{result="routed"} (\d+)/.exec(await metrics.text())
      expect(Number(routed?.[1]), 'messages that this process has routed').to.be.greaterThan(20)
    }
  })
  it('take over from each other when one is killed, and lose no event with a 202', async () => {
    const [firstProcess, secondProcess] = await Promise.all([start(), start()])
    const api = await clientOf(firstProcess.url)
    await subscribe(api, '/left')
    const loads = [
      startLoad(firstProcess.url, `Bearer ${api.token}`, { perSecond: 60 }),
      startLoad(secondProcess.url, `Bearer ${api.token}`, { perSecond: 60, from: 100_000 }),
    ]
    await waitFor(() => loads.every((l) => l.accepted.length > 60))
    await secondProcess.kill('SIGKILL')
    await waitFor(() => loads[0]!.accepted.length > 240)
    await Promise.all(loads.map((l) => l.stop()))
    const accepted = loads.flatMap((l) => l.accepted)
    await expectArrival(receiver, '/left', accepted)
  })
  it('take over the work of a frozen process, which does no harm when it continues', async () => {
    const [firstProcess, secondProcess] = await Promise.all([start(), start()])
    const api = await clientOf(firstProcess.url)
    receiver.setResponse('/frozen', (_request, response) => setTimeout(() => response.end(), 30))
    const webhook = await subscribe(api, '/frozen')
    const posting = startLoad(firstProcess.url, `Bearer ${api.token}`, { perSecond: 80 })
    await waitFor(() => posting.accepted.length > 80)
    secondProcess.child.kill('SIGSTOP')
    const owners = async () => (await processes.db.pool.query('select distinct owner from leases where until > clock_timestamp()')).rowCount
    await waitFor(async () => (await owners()) === 1, { what: 'the leases of the frozen process to end' })
    const before = posting.accepted.length
    await waitFor(() => posting.accepted.length > before + 80, { what: 'a second of load without the frozen process' })
    secondProcess.child.kill('SIGCONT')
    await posting.stop()
    await expectArrival(receiver, '/frozen', posting.accepted)
    await expectSuccessOfAll(api, webhook.id)
    // Only requests that were in flight at the freeze may have been sent twice.
    expect(receiver.ids('/frozen').length - new Set(receiver.ids('/frozen')).size).to.be.lessThan(20)
  })
  it('form one service when each has one role: api, dispatcher or projector', async () => {
    const projector = start({ KOLBAK_ROLES: 'projector' })
    const [api] = await Promise.all([start({ KOLBAK_ROLES: 'api' }), start({ KOLBAK_ROLES: 'dispatcher' }), projector])
    const client = await waitFor(() => clientOf(api.url))
    await subscribe(client, '/roles')
    await client.post('/v1/events', { id: 'evt_roles', event: 'load.posted', payload: {} })
    await waitFor(() => receiver.ids('/roles').length === 1)
    await expectDelivery(client, 'evt_roles', 'success')
  })
})
