/**
 * The numbers of all advisory locks. A lock is kept to the end of the transaction, unless its comment says otherwise. SQL functions of the
 * migrations use the numbers 7001, 7003, 7006 and 7007 as they are, and name the lock in a comment. Projections lock the names of their
 * builds by a hash instead (see projections/builds.ts), which needs no number.
 */
export const advisoryLocks = {
  /**
   * The data folder of an embedded Postgres. The process that owns the folder keeps the lock until its connection ends, which a kill -9
   * also does.
   */
  dataFolder: 7_000,
  /** The end of the event log: one append at a time draws positions and commits. */
  eventLog: 7_001,
  /** The end of one partition of the bus; the second key is the partition. Produces exclude one another, and readers wait for them. */
  busPartition: 7_003,
  /** The making of day partitions. One process at a time makes them, for all tables. */
  dayPartitions: 7_004,
  /** The making of the sequences that number the bus's records: one process at a time. */
  busSequences: 7_005,
  /** The delivery history: one writer at a time compares facts with the stored ones and writes them. */
  deliveryFacts: 7_006,
  /** The making of a build of the delivery history: one process at a time. */
  deliveryHistoryBuilds: 7_007,
} as const
