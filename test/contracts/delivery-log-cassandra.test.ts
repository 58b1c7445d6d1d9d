import { placeOf } from '../../src/events/message-record.ts'
import { silentLog } from '../../src/lib/log.ts'
import { openCassandraLog } from '../support/delivery-log-cassandra.ts'
import { describeWithCassandra } from '../support/engines/cassandra.ts'
import { waitFor } from '../support/wait-for.ts'
import { type DeliveryLogHarness, deliveryLogContract } from './delivery-log.contract.ts'

const day = 86_400

const harness = async (retentionSeconds = 30 * day): Promise<DeliveryLogHarness> => {
  const { log, history, drop } = await openCassandraLog({ retentionSeconds, log: silentLog })
  return {
    log: { ...log, ...history },
    async keep(bodies) {
      const keys = bodies.map(({ sealedBody: _, ...key }, i) => ({
        ...key,
        event: 'order.created',
        place: placeOf('kafka', 0, BigInt(i), 0),
      }))
      await log.archive(bodies.map(({ sealedBody }, i) => ({ ...keys[i]!, sealedBody })))
      return keys
    },
    async expireBefore(firstDay) {
      // Cassandra's clock cannot be moved. A message that was accepted at noon of the day before expires within seconds.
      const noon = Date.parse(`${firstDay}T12:00:00.000Z`) - day * 1_000
      await waitFor(() => Date.now() > noon + retentionSeconds * 1_000 + 1_100, { what: 'the retention to pass' })
    },
    drop,
  }
}
describeWithCassandra('delivery log on Cassandra', () => {
  deliveryLogContract('Cassandra', () => harness(), {
    expires: 'by itself',
    /** Returns a harness with a retention that keeps the noon of this past day for a few seconds more. */
    untilSoonAfter: (noon) => harness(Math.ceil((Date.now() - Date.parse(noon)) / 1_000) + 12),
  })
})
