import { join } from 'node:path'
import { expect } from 'chai'
import { type Load, startLoad } from '../support/load.ts'
import { allDeliveries, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

const preload = `--import ${join(import.meta.dirname, '../support/moved-clock.mjs')}`
const wrongBy = (...minutes: number[]) => ({
  NODE_OPTIONS: preload,
  TEST_CLOCK_MS: minutes.map((minute) => minute * 60_000).join(','),
})
const delay_seconds = 2

describe('wrong clocks', () => {
  const processes = withServices({
    each: true,
    sharedDatabase: true,
    // The last delay makes the schedule longer than the jumps of the clock (4 h), because a parked delivery expires by the clock of its process.
    variables: { KOLBAK_RETRY_DELAYS: `${delay_seconds},${delay_seconds},20000` },
  })
  const { start, subscribe } = processes

  /**
   * Makes the receiver respond to each event's first request with 503 and to the second with 200. Returns the milliseconds between both, by event.
   */
  const refusingOnce = (path: string) => {
    const first = new Map<string, number>()
    const waited = new Map<string, number>()
    processes.receiver.setResponse(path, (request, response) => {
      const id = String(request.headers['webhook-id'])
      const before = first.get(id)
      if (before === undefined) first.set(id, request.at)
      else waited.set(id, request.at - before)
      response.writeHead(before === undefined ? 503 : 200).end()
    })
    return waited
  }
  const all = async (path: string, loads: readonly Load[], waited: ReadonlyMap<string, number>) => {
    await Promise.all(loads.map((testLoad) => testLoad.stop()))
    const accepted = loads.flatMap((testLoad) => testLoad.accepted)
    await waitFor(() => accepted.every((id) => waited.has(id)), { what: 'all retries to arrive' })
    // The jitter is 20 %. If the receiver handles the first request late, it measures a shorter time, so 200 ms are allowed.
    const earlyAttempts = [...waited].filter(([, ms]) => ms < delay_seconds * 800 - 200)
    expect(earlyAttempts, 'retries before their time').to.deep.equal([])
    expect(processes.receiver.received(path), 'requests').to.have.length(2 * accepted.length)
    for (const testLoad of loads) expect([...testLoad.responses.keys()]).to.deep.equal([202])
  }

  it('that differ between processes make no retry early, and lose and repeat no delivery', async () => {
    const [behind, ahead] = await Promise.all([start(wrongBy(-30)), start(wrongBy(30))])
    const api = await clientOf(behind.url)
    await subscribe(api, '/skewed')
    const waited = refusingOnce('/skewed')
    const other = await clientOf(ahead.url)
    const loads = [
      startLoad(behind.url, `Bearer ${api.token}`, { perSecond: 30 }),
      startLoad(ahead.url, `Bearer ${other.token}`, { perSecond: 30, from: 100_000 }),
    ]
    await waitFor(() => loads.every((testLoad) => testLoad.accepted.length > 60))
    await all('/skewed', loads, waited)
  })

  it('that are set back and ahead under load make no retry early, and lose no delivery', async () => {
    const service = await start(wrongBy(0, -180, 60))
    const api = await clientOf(service.url)
    const webhook = await subscribe(api, '/jumping')
    const waited = refusingOnce('/jumping')
    let from = 0
    const loads: Load[] = []
    for (const jumps of [0, 1, 2]) {
      if (jumps > 0) {
        service.child.kill('SIGUSR2')
        await waitFor(() => service.logLines.filter((line) => line.msg === 'clock.moved').length === jumps)
      }
      // Tokens expire by the clock. After a jump ahead the test fetches a new one, as clients do.
      const { token } = await clientOf(service.url)
      const posting = startLoad(service.url, `Bearer ${token}`, { perSecond: 40, from })
      loads.push(posting)
      from += 100_000
      await waitFor(() => posting.accepted.length > 60)
      // The clock jumps again while retries of these events are still scheduled.
      await posting.stop()
    }
    await all('/jumping', loads, waited)
    const history = await clientOf(service.url)
    const succeeded = async () => new Set((await allDeliveries(history, webhook.id, 'success')).map((delivery) => delivery.event_id))
    const accepted = loads.flatMap((testLoad) => testLoad.accepted)
    await waitFor(async () => (await succeeded()).size === accepted.length, { what: 'every delivery to be a success in the history' })
  })
})
