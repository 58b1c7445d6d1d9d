// Usage: npm run bench:cells [-- --write]. It prints the tables of docs/scaling.md. They follow from measured costs and from a simulation of many cells with
// a seed (cell-model.ts). With --write, it writes the tables into the document. A test compares the two.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { capacityOf, type EventCosts, type Machine, type Outcome, type Policy, type Setting, simulate } from './cell-model.ts'

/** Measured with `npm run bench:cell-costs`, and with `npm run bench -- --engines kafka,cassandra,eventstoredb --scenarios single`. */
const onPostgres: EventCosts = { postgresMicros: 190, nodeMicros: 520, storedBytes: 3_850, walBytes: 4_490 }
const distributed: EventCosts = { postgresMicros: 137, nodeMicros: 1_630, storedBytes: 630, walBytes: 1_480 }

/**
 * Processor time in µs for a record (Kafka) and a fact (Cassandra), each on one node; and the events a second that Kolbak 0.1 appended on a real cluster
 * of EventStoreDB.
 */
const engines = { kafkaMicrosOfRecord: 64, cassandraMicrosOfFact: 884, copies: 3, eventStoreDbEvents: 11_100, eventsOfMessage: 2 }
/** Rows a second that two writers inserted into the message index. */
const copiedRows = 10_000

const machine: Machine = { cores: 8, diskBytes: 8e12, usable: 0.7 }
/** How many times its limit (mean events a second, see `limitOf`) a cell can process in a busy hour. */
const peak = 2
/** Returns the limit of a cell: what its disk keeps, but not more than its processor can take in a busy hour. */
function limitOf(retentionDays: number): number {
  const { byDisk, byProcessor } = capacityOf(distributed, machine, retentionDays)
  return Math.min(byDisk, byProcessor / peak)
}

/** The standard setting. Each table changes one or two of its values. */
export const standard: Setting = {
  ...{ seed: 1, days: 365, tenants: 10_000, eventsPerSecond: 1_000_000, skew: 1 },
  ...{ limit: limitOf(30), peak, target: 0.7, moveAbove: 0.85, largestPart: 0.25, rateLimit: 3, policy: 'two choices' },
}
const outcomes = new Map<string, Outcome>()
/** Simulates a setting once, although several tables show it. */
function outcomeOf(changes: Partial<Setting>): Outcome {
  const setting = { ...standard, ...changes }
  const key = JSON.stringify(setting)
  const outcome = outcomes.get(key) ?? simulate(setting)
  outcomes.set(key, outcome)
  return outcome
}

const count = (value: number): string =>
  value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 10 ? 0 : 1)
const percent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 2 : 0)} %`
const bytes = (value: number): string => (value >= 1e12 ? `${(value / 1e12).toFixed(1)} TB` : `${count(value / 1e9)} GB`)
const minutes = (value: number): string => (value >= 120 ? `${count(value / 60)} h` : value < 0.05 ? 'none' : `${count(value)} min`)
const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

const secondsOf = (days: number): number => days * 86_400
const bytesOf = (eventsPerSecond: number, days: number): number => eventsPerSecond * secondsOf(days) * distributed.storedBytes

function capacityTable(): string {
  const row = (name: string, costs: EventCosts, days: number) => {
    const { byDisk, byProcessor } = capacityOf(costs, machine, days)
    const wal = byDisk * costs.walBytes
    return [
      name,
      `${days} days`,
      count(byDisk),
      count(byProcessor),
      `${count(wal / 1e6)} MB/s`,
      count((peak * byDisk * costs.nodeMicros) / 1e6),
    ]
  }
  return tableOf(
    [
      'engines',
      'retention',
      'events/s by the disk (mean)',
      'events/s by the processor (peak)',
      'WAL at the mean',
      'cores of node at twice the mean',
    ],
    [
      row('all on Postgres', onPostgres, 30),
      row('all on Postgres', onPostgres, 7),
      row('Kafka, Cassandra, EventStoreDB', distributed, 30),
      row('Kafka, Cassandra, EventStoreDB', distributed, 7),
      row('Kafka, Cassandra, EventStoreDB', distributed, 3),
    ],
  )
}
function engineTable(): string {
  const row = (days: number) => {
    const peakEvents = peak * limitOf(days)
    return [
      `${days} days`,
      count(peakEvents),
      count((peakEvents * engines.copies * engines.kafkaMicrosOfRecord) / 1e6),
      count((peakEvents * engines.copies * engines.cassandraMicrosOfFact) / 1e6),
      count(peakEvents * engines.eventsOfMessage),
      count(engines.eventStoreDbEvents),
    ]
  }
  return tableOf(
    [
      'retention',
      'peak of a cell, events/s',
      'cores of all Kafka brokers',
      'cores of all Cassandra nodes, for the history',
      'stored events/s for EventStoreDB',
      'measured on EventStoreDB',
    ],
    [row(30), row(7), row(3)],
  )
}
function sizeTable(): string {
  const row = (eventsPerSecond: number, tenants: number, retentionDays: number) => {
    const outcome = outcomeOf({ eventsPerSecond, tenants, limit: limitOf(retentionDays) })
    const { cells, utilisation, largestTenant, dividedTenants, movesPerDay } = outcome
    return [
      count(eventsPerSecond),
      count(tenants),
      `${retentionDays} days`,
      count(cells),
      percent(utilisation),
      largestTenant.toFixed(1),
      `${dividedTenants}`,
      movesPerDay.toFixed(2),
    ]
  }
  return tableOf(
    ['events/s', 'tenants', 'retention', 'cells', 'mean load of a cell', 'largest tenant, in cells', 'divided tenants', 'moves a day'],
    [row(10_000, 1_000, 30), row(100_000, 3_000, 30), row(1_000_000, 10_000, 30), row(1_000_000, 10_000, 7), row(1_000_000, 10_000, 3)],
  )
}
function targetTable(): string {
  return tableOf(
    [
      'target',
      'moved above',
      'cells',
      'mean load',
      'highest load of a day',
      'moves a day',
      'most moves on a day',
      'hours above the peak, per cell and year',
      'longest wait',
    ],
    [0.5, 0.6, 0.7, 0.8, 0.9].map((target) => {
      const moveAbove = Math.min(0.95, target + 0.15)
      const outcome = outcomeOf({ target, moveAbove })
      return [
        percent(target),
        percent(moveAbove),
        count(outcome.cells),
        percent(outcome.utilisation),
        percent(outcome.highestBefore),
        outcome.movesPerDay.toFixed(2),
        `${outcome.mostMoves}`,
        outcome.busyHours.toFixed(1),
        minutes(outcome.longestWait),
      ]
    }),
  )
}
function policyTable(): string {
  const policies: readonly Policy[] = ['first fit', 'least loaded', 'two choices', 'hash']
  return tableOf(
    [
      'policy',
      'cells',
      'mean load',
      'moves a day',
      'most moves on a day',
      'index copied in a day',
      'tenants in a cell: mean / most',
      'tenants touched by a lost cell: mean / most',
      'events stopped: mean / most',
    ],
    policies.map((policy) => {
      const outcome = outcomeOf({ policy })
      const { touchedTenants, mostTouchedTenants, touchedEvents, mostTouchedEvents } = outcome
      return [
        policy,
        count(outcome.cells),
        percent(outcome.utilisation),
        count(outcome.movesPerDay),
        count(outcome.mostMoves),
        bytes(outcome.movedShare * bytesOf((outcome.firstRate + outcome.lastRate) / 2, 30)),
        `${count(touchedTenants * standard.tenants)} / ${count(mostTouchedTenants * standard.tenants)}`,
        `${percent(touchedTenants)} / ${percent(mostTouchedTenants)}`,
        `${percent(touchedEvents)} / ${percent(mostTouchedEvents)}`,
      ]
    }),
  )
}
function rateLimitTable(): string {
  return tableOf(
    ['limit of a tenant, as a multiple of its mean', 'hours above the peak, per cell and year', 'longest wait'],
    [10, 5, 3, 2].map((rateLimit) => {
      const { busyHours, longestWait } = outcomeOf({ rateLimit })
      return [count(rateLimit), busyHours.toFixed(1), minutes(longestWait)]
    }),
  )
}
function divisionTable(): string {
  return tableOf(
    [
      'skew',
      'largest part',
      'cells',
      'largest tenant, in cells',
      'its parts',
      'divided tenants',
      'index of the largest part',
      'time to copy it',
    ],
    [
      [0.8, 0.25],
      [1, 0.5],
      [1, 0.25],
      [1, 0.1],
      [1.2, 0.25],
    ].map(([skew = 1, largestPart = 0.25]) => {
      const { cells, largestTenant, largestTenantParts, dividedTenants } = outcomeOf({ skew, largestPart })
      return [
        `${skew}`,
        `${percent(largestPart)} of a cell`,
        count(cells),
        largestTenant.toFixed(1),
        `${largestTenantParts}`,
        `${dividedTenants}`,
        bytes(bytesOf(largestPart * standard.limit, 30)),
        `${count((largestPart * standard.limit * secondsOf(30)) / copiedRows / 3_600)} h`,
      ]
    }),
  )
}
/** The blocks of the document by their names. */
export const blocks: Readonly<Record<string, () => string>> = {
  capacity: capacityTable,
  engines: engineTable,
  sizes: sizeTable,
  targets: targetTable,
  policies: policyTable,
  'rate-limits': rateLimitTable,
  division: divisionTable,
}
const blockPattern = /(<!-- cells: ([\w-]+) -->\n)[\s\S]*?(<!-- \/cells -->)/g
/** Returns the document with the tables of this program. */
export const withBlocks = (text: string): string =>
  text.replaceAll(blockPattern, (_, begin: string, name: string, end: string) => `${begin}${blocks[name]!()}\n${end}`)

if (import.meta.main) {
  const file = join(import.meta.dirname, '../docs/scaling.md')
  if (process.argv.includes('--write')) writeFileSync(file, withBlocks(readFileSync(file, 'utf8')))
  else for (const [name, block] of Object.entries(blocks)) console.log(`${name}\n${block()}\n`)
}
