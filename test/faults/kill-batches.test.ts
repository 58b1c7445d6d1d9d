import { expect } from 'chai'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const size = 40

describe('a kill -9 while batches arrive', () => {
  const { service, receiver } = withService()
  const idsOf = (batch: number) => Array.from({ length: size }, (_, i) => `batch_${batch}_${i}`)

  it('delivers each batch as a whole or not at all, and loses no batch with a 202', async () => {
    const api = await clientOf(service.url)
    await api.post('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'batch.*' })
    const accepted = new Set<number>()
    let posted = 0
    let isDown = false
    const producer = async (client: Client) => {
      while (!isDown) {
        const batch = posted++
        const events = idsOf(batch).map((id) => ({ id, event: 'batch.posted', payload: { batch } }))
        const response = await client.call('POST', '/v1/events/batch', { events }).catch(() => null) // the connection broke, so the batch was not acknowledged
        if (response?.status === 202) accepted.add(batch)
        else isDown = true
      }
    }
    for (let round = 0; round < 2; round++) {
      isDown = false
      const before = accepted.size
      const client = await clientOf(service.url)
      const producers = Promise.all(Array.from({ length: 4 }, () => producer(client)))
      await waitFor(() => accepted.size >= before + 20, { what: '20 batches to be accepted' })
      await service.kill('SIGKILL')
      await producers
      await service.restart()
    }
    const arrived = () => new Set(receiver.received('/hook').map((request) => request.body.id))
    const countOf = (batch: number, ids: ReadonlySet<string>) => idsOf(batch).filter((id) => ids.has(id)).length
    await waitFor(
      () => {
        const ids = arrived()
        return [...accepted].every((batch) => countOf(batch, ids) === size)
      },
      { what: 'all accepted batches to arrive' },
    )
    // A batch that was stored without a response also arrives as a whole.
    await waitFor(
      () => {
        const ids = arrived()
        return Array.from({ length: posted }, (_, batch) => countOf(batch, ids)).every((count) => count === 0 || count === size)
      },
      { what: 'every batch to be whole or absent' },
    )
    expect(accepted.size).to.be.greaterThanOrEqual(40)
  })
})
