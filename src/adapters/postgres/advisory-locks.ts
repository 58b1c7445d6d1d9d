/**
 * The numbers of all advisory locks. Each is held until the transaction ends, unless its comment says otherwise. SQL functions of the
 * migrations contain the numbers 7001, 7003, 7006 and 7007 as literals, and name the lock in a comment. Projections need no number, because
 * they lock a hash of the name of a build (see projections/builds.ts).
 */
export const advisoryLocks = {
  /**
   * The data folder of an embedded Postgres. The process that owns the folder holds the lock until its connection is closed. A kill -9 of the process
   * closes the connection too.
   */
  dataFolder: 7_000,
  /** The end of the event store. One append at a time draws positions and commits. */
  eventLog: 7_001,
  /** The end of one partition of the bus. The second key is the partition. One process at a time produces to it, and readers wait. */
  busPartition: 7_003,
  /** The creation of day partitions of any table, by one process at a time. */
  dayPartitions: 7_004,
  /** The creation of the sequences that number the records of the bus, by one process at a time. */
  busSequences: 7_005,
  /** The delivery history. One writer at a time compares facts with the stored facts and writes them. */
  deliveryFacts: 7_006,
  /** The creation of a build of the delivery history, by one process at a time. */
  deliveryHistoryBuilds: 7_007,
} as const
