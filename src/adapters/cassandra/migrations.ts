import { secondsPerDay } from '../../lib/days.ts'
/** One numbered step of the schema. Its statements change nothing when they have run before. */
export interface Migration {
  readonly name: string
  readonly statements: readonly string[]
}
/** The tables of one build of the history, with their keyspace. */
export interface HistoryTables {
  readonly facts: string
  readonly byWebhook: string
  readonly byStatus: string
  readonly undeliveredByTenant: string
  readonly deadByTenant: string
  readonly deadByWebhook: string
}

export function historyTables(keyspace: string, build: number): HistoryTables {
  if (!Number.isSafeInteger(build) || build < 1) throw new RangeError(`not a build of the history: ${build}`)
  const table = (name: string): string => `${keyspace}.${name}_${build}`
  return {
    facts: table('facts'),
    byWebhook: table('deliveries_by_webhook'),
    byStatus: table('deliveries_by_status'),
    undeliveredByTenant: table('undelivered_by_tenant'),
    deadByTenant: table('dead_letters_by_tenant'),
    deadByWebhook: table('dead_letters_by_webhook'),
  }
}

/**
 * Options of a table whose rows all expire in the order of time. Whole files are dropped once all their rows have expired, which works best
 * with about 30 windows over the retention. Each row has its own TTL; the table's TTL is for rows that are written by hand. No row is ever
 * deleted, so the grace time may be short. (The grace time keeps a replica that was away from bringing deleted rows back.)
 */
const expiring = (retentionSeconds: number): string =>
  `compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS',
     'compaction_window_size': ${Math.max(1, Math.ceil(retentionSeconds / secondsPerDay / 30))}}
   and default_time_to_live = ${retentionSeconds} and gc_grace_seconds = 10800`

/** The migrations of the tables that no rebuild changes: the identity and the bodies. */
export const archiveMigrations = (keyspace: string, retentionSeconds: number): Migration[] => [
  {
    name: '0001_archive',
    statements: [
      `create table if not exists ${keyspace}.engine (name text primary key, value text)`,
      `create table if not exists ${keyspace}.sealed_bodies (
         tenant text, message text, fingerprint text, sealed_body blob,
         primary key ((tenant, message), fingerprint)
       ) with ${expiring(retentionSeconds)}`,
    ],
  },
]

/**
 * The history has a row for each fact, in the order of `isGreaterFact`. The first row of a delivery is its state, and the rows of requests are its
 * attempts. The other tables are indexes, whose rows are never deleted. A reader compares each index row with the state.
 */
export function historyMigrations(keyspace: string, build: number, retentionSeconds: number): Migration[] {
  const tables = historyTables(keyspace, build)
  const newestFirst = (at: string): string => `with clustering order by (${at} desc, delivery desc) and ${expiring(retentionSeconds)}`
  return [
    {
      name: `0002_history_${build}`,
      statements: [
        `create table if not exists ${tables.facts} (
           delivery text, chain int, finality int, attempt int, event_id text,
           webhook text, accepted_at timestamp, tenant text, message text, place text, fingerprint text, event text, correlation_id text,
           type text, time timestamp, code int, duration_ms double, reason text, reason_detail text, response text,
           next_attempt_at timestamp,
           primary key (delivery, chain, finality, attempt, event_id)
         ) with clustering order by (chain desc, finality desc, attempt desc, event_id desc) and ${expiring(retentionSeconds)}`,
        `create table if not exists ${tables.byWebhook} (
           webhook text, day text, accepted_at timestamp, delivery text,
           primary key ((webhook, day), accepted_at, delivery)
         ) ${newestFirst('accepted_at')}`,
        `create table if not exists ${tables.byStatus} (
           webhook text, status text, day text, accepted_at timestamp, delivery text,
           primary key ((webhook, status, day), accepted_at, delivery)
         ) ${newestFirst('accepted_at')}`,
        `create table if not exists ${tables.deadByTenant} (
           tenant text, day text, died_at timestamp, delivery text, webhook text,
           primary key ((tenant, day), died_at, delivery)
         ) ${newestFirst('died_at')}`,
        `create table if not exists ${tables.deadByWebhook} (
           webhook text, day text, died_at timestamp, delivery text,
           primary key ((webhook, day), died_at, delivery)
         ) ${newestFirst('died_at')}`,
      ],
    },
    {
      name: `0003_undelivered_${build}`,
      statements: [
        `create table if not exists ${tables.undeliveredByTenant} (
           tenant text, status text, day text, accepted_at timestamp, delivery text, webhook text,
           primary key ((tenant, status, day), accepted_at, delivery)
         ) ${newestFirst('accepted_at')}`,
      ],
    },
  ]
}
