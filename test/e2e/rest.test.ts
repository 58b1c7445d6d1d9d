import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('a service at rest', () => {
  const services = withServices({ sharedDatabase: true })
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
    // On a busy machine the work of the start takes some time. Two of five windows may have more transactions, because of rare work such as dropping
    // old data.
    const perWindow: number[] = []
    const isAtRest = () => perWindow.slice(-5).filter((count) => count < 4 * windowSeconds).length >= 3
    while (!isAtRest() && perWindow.length < 60) {
      const before = await transactions()
      await sleep(windowSeconds * 1_000) // the service must be left alone while its transactions are counted
      perWindow.push((await transactions()) - before)
    }
    expect(isAtRest(), `transactions in ${windowSeconds} s: ${perWindow}`).to.equal(true)

    await api.post('/v1/events', { id: 'after', event: 'load.made', payload: {} })
    await waitFor(() => receiver.ids('/hook').includes('after'), { within: 2_000 })
  })
})
