import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { describeOn, eventStoreOf, withDurableCassandra } from '../support/engine-sets.ts'
import { startKafka } from '../support/engines/kafka.ts'
import { expectSurvival } from '../support/expect-survival.ts'
import { isFull } from '../support/is-full.ts'
import type { Load } from '../support/load.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

describe('engines failing under load', () => {
  const durable = withDurableCassandra()

  describeOn('and coming back', ['eventstoredb', 'kafka', 'cassandra'], () => {
    const { service, receiver } = withService({ each: true, variables: { KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3' } })
    const breaking = async (fault: (posting: Load) => Promise<void>) => {
      const { accepted, refused, repeated } = await expectSurvival(service, receiver, fault, { perSecond: 60 })
      console.log(`      ${accepted} accepted, ${refused} refused or without a response, ${repeated} requests repeated`)
    }

    /** Adds a test to the full matrix only. By default, the most frequent fault of each kind is enough. */
    const itInFull = (title: string, test: Mocha.AsyncFunc) => void (isFull && it(title, test))

    it('lose no accepted event when Kafka is killed and comes back', async () => {
      const kafka = await startKafka()
      await breaking(async () => {
        await kafka.kill()
        await kafka.start()
      })
    })
    itInFull('lose no accepted event when Kafka is restarted as an operator would', async () => {
      const kafka = await startKafka()
      await breaking(async () => {
        await kafka.halt()
        await kafka.start()
      })
    })
    itInFull('lose no accepted event when Cassandra is killed and comes back', async () => {
      const cassandra = await durable()
      await breaking(async () => {
        await cassandra.kill()
        await cassandra.restart()
      })
    })
    it('lose no accepted event when EventStoreDB drops its connections, is slow, responds too late, and is killed', async () => {
      const store = await eventStoreOf(service.dataDir)
      await breaking(async (posting) => {
        await store.drop()
        await store.slow(300)
        const before = posting.accepted.length
        await waitFor(() => posting.accepted.length > before + 60)
        await store.slow(0)
        await store.kill()
        await store.restart()
      })
    })

    it('leave no readable payload in Kafka’s files', async () => {
      const { logDir } = await startKafka()
      const api = await clientOf(service.url)
      await api.post('/v1/webhooks', { callback_url: receiver.url('/sealed'), event: '*' })
      const secret = 'nobody-reads-this-on-the-disk-of-a-broker'
      await api.post('/v1/events', { id: 'evt_sealed', event: 'a.b', source: 'the-source', payload: { secret } })
      await waitFor(() => receiver.received('/sealed').length === 1)
      let foundCount = 0
      for (const file of await readdir(logDir, { recursive: true, withFileTypes: true })) {
        if (!file.isFile()) continue
        const bytes = await readFile(join(file.parentPath, file.name))
        expect(bytes.includes(secret), file.name).to.equal(false)
        if (bytes.includes('evt_sealed')) foundCount++
      }
      expect(foundCount, 'files that have the record itself').to.be.greaterThan(0)
    })
  })
})
