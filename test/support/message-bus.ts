import { randomUUID } from 'node:crypto'
import { createPostgresMessageBus, type PostgresMessageBus } from '../../src/adapters/postgres/message-bus.ts'
import { createPool } from '../../src/adapters/postgres/pool.ts'
import { createLeaseKeeper } from '../../src/lib/leases.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type Notices, noNotices } from '../../src/lib/notices.ts'

export interface PostgresBusMember {
  readonly bus: PostgresMessageBus
  /** Names of the statements that the bus's pool has run. */
  readonly statements: readonly string[]
  crash(): Promise<void>
  close(): Promise<void>
}

/** Opens a bus with its own connections and leases, like a separate process. */
export async function postgresBusMember(options: {
  url: string
  consumers: () => number
  partitions?: number
  leaseMs?: number
  maxWaiting?: number
  maxWaitingBytes?: number
  notices?: Notices
}): Promise<PostgresBusMember> {
  const { url, consumers, partitions = 4, leaseMs = 3_000 } = options
  const pool = createPool({ url, name: 'bus', max: 6, log: silentLog })
  const leasePool = createPool({ url, name: 'leases', max: 1, log: silentLog })
  const statements: string[] = []
  const query = pool.query.bind(pool)
  Object.assign(pool, {
    query(config: { name?: string }, ...rest: unknown[]) {
      if (config.name !== undefined) statements.push(config.name)
      return Reflect.apply(query, pool, [config, ...rest])
    },
  })
  const leases = createLeaseKeeper({ pool: leasePool, owner: randomUUID(), leaseMs, onError() {} })
  const bus = await createPostgresMessageBus({
    pool,
    identity: 'pg-test',
    partitions,
    leases,
    consumers,
    notices: options.notices ?? noNotices,
    log: silentLog,
    balanceMs: 50,
    fetchWaitMs: 200,
    ...(options.maxWaiting === undefined ? {} : { maxWaiting: options.maxWaiting }),
    ...(options.maxWaitingBytes === undefined ? {} : { maxWaitingBytes: options.maxWaitingBytes }),
  })
  let ended = false
  return {
    bus,
    statements,
    async crash() {
      ended = true
      await Promise.all([leasePool.end(), pool.end()])
    },
    async close() {
      if (ended) return
      ended = true
      await bus.close()
      await leases.close()
      await Promise.all([leasePool.end(), pool.end()])
    },
  }
}
