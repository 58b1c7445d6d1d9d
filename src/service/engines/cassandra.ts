import { type DeliveryLogEngine, expiresByItself, secondsKept } from './engine.ts'
import { readPemFiles } from './pem-files.ts'

/** Opens Cassandra as the delivery log. Cassandra itself drops expired rows, by their TTL. */
export const cassandra: DeliveryLogEngine = {
  name: 'cassandra',
  title: 'Cassandra',
  chosenBy: 'CASSANDRA_CONTACT_POINTS',
  async connect({ config, log }) {
    const { createCassandraDeliveryLog } = await import('../../adapters/cassandra/delivery-log.ts')
    const { CASSANDRA_DATACENTER: localDataCenter = '', CASSANDRA_USERNAME: username, CASSANDRA_PASSWORD: password = '' } = config
    const deliveryLog = await createCassandraDeliveryLog({
      contactPoints: config.CASSANDRA_CONTACT_POINTS ?? [],
      localDataCenter,
      keyspace: config.CASSANDRA_KEYSPACE,
      replication: replicationOf(config.CASSANDRA_REPLICATION, localDataCenter),
      consistency: config.CASSANDRA_CONSISTENCY,
      retentionSeconds: secondsKept(config),
      ...(username === undefined ? {} : { credentials: { username, password } }),
      ...(config.CASSANDRA_SSL ? { ssl: readPemFiles(config, { ca: 'CASSANDRA_SSL_CA' }) } : {}),
      log,
    })
    return { adapter: deliveryLog, expire: expiresByItself }
  },
}

/**
 * Reads CASSANDRA_REPLICATION. `3` means three copies in the data centre of this process. `dc1:3,dc2:2` gives the copies of each data centre.
 */
const replicationOf = (text: string, dataCenter: string): Record<string, string | number> => ({
  class: 'NetworkTopologyStrategy',
  ...Object.fromEntries(
    (text.includes(':') ? text.split(',') : [`${dataCenter}:${text}`]).map((part) => {
      const [name = '', copies = ''] = part.trim().split(':')
      return [name, Number(copies)]
    }),
  ),
})
