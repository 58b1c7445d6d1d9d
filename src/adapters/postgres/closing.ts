import type { Sql } from '../../lib/sql.ts'
import { advisoryLocks } from './advisory-locks.ts'
import type { Port } from './engines.ts'

/**
 * Keeps writers away from the data that a port leaves in Postgres, in the transaction that records the port's new engine. `lock` waits for writers in
 * flight, and then no other writer can begin. `shut` removes functions that a write needs, so that a writer that waited for the lock fails. The data
 * stay.
 */
interface Closing {
  lock(sql: Sql): Promise<unknown>
  shut(sql: Sql): Promise<unknown>
}

export const closing: Record<Port, Closing> = {
  event_store: {
    lock: (sql) => sql`select pg_advisory_xact_lock(${advisoryLocks.eventLog})`,
    shut: (sql) => sql`drop sequence event_positions`,
  },
  message_bus: {
    lock: (sql) => sql`
      select pg_advisory_xact_lock(${advisoryLocks.busPartition}, substring(relname from '\\d+$')::integer) from pg_class
      where relkind = 'S' and relname ~ '^messages_offset_\\d+$' and pg_table_is_visible(oid) order by relname`,
    shut: (sql) => sql`select drop_bus_partitions()`,
  },
  delivery_log: {
    async lock(sql) {
      await sql`select pg_advisory_xact_lock(${advisoryLocks.deliveryFacts})`
      // After this change, a projector in the middle of a batch cannot commit it. Later batches fail because `record_facts` no longer exists.
      await sql`update projections set lifted = lifted + 1 where name = 'deliveries'`
    },
    shut: (sql) => sql`select drop_record_facts()`,
  },
}
