import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('a service at rest', () => {
  const services = withServices({ sharedDatabase: true })
  const windows = 5
  const windowSeconds = 2

  it('makes few transactions, and delivers the next event at once', async () => {
    const { receiver } = services
    const service = await services.start()
    const api = await clientOf(service.url)
    await services.subscribe(api, '/hook')
    await api.post('/v1/events', { id: 'before', event: 'load.made', payload: {} })
    await waitFor(() => receiver.ids('/hook').includes('before'))

    const transactions = async (): Promise<number> => {
      const { rows } = await services.db.pool.query<{ n: bigint }>(
        'select xact_commit + xact_rollback as n from pg_stat_database where datname = current_database()',
      )
      return Number(rows[0]!.n)
    }
    // The median ignores a window in which the service did rare work, such as dropping old data.
    const perWindow: number[] = []
    for (let i = 0; i < windows; i++) {
      const before = await transactions()
      await sleep(windowSeconds * 1_000) // the service must be left alone while its transactions are counted
      perWindow.push((await transactions()) - before)
    }
    const median = perWindow.toSorted((a, b) => a - b)[Math.floor(windows / 2)]
    expect(median, `transactions in ${windowSeconds} s: ${perWindow}`).to.be.lessThan(8 * windowSeconds)

    await api.post('/v1/events', { id: 'after', event: 'load.made', payload: {} })
    await waitFor(() => receiver.ids('/hook').includes('after'), { within: 1_000 })
  })
})
