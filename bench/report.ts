import type { AtRest, Result } from './drive.ts'

/** The figures of one scenario in one round. */
export interface Figures {
  readonly result: Result | AtRest
  /** The result of the floor program (bench/floor.ts) in the same round. */
  readonly floor?: Result | undefined
}

/** The functions that derive the values of a row from the figures of one round. A value that a scenario does not have is undefined. */
const values = {
  acceptedPerSecond: (result: Result) => result.acceptedPerSecond,
  deliveredPerSecond: (result: Result) => result.deliveredPerSecond,
  shareOfFloor: (result: Result, floor?: Result) => floor && result.deliveredPerSecond / floor.deliveredPerSecond,
  nodeMillis: (result: Result) => result.cpuMicros / 1_000,
  postgresMillis: (result: Result) => result.postgresCpuMicros / 1_000,
  cpuRatioToFloor: (result: Result, floor?: Result) =>
    floor && (result.cpuMicros + result.postgresCpuMicros) / (floor.cpuMicros + floor.postgresCpuMicros),
  acceptP50: (result: Result) => result.acceptMs[0],
  acceptP99: (result: Result) => result.acceptMs[2],
  p50: (result: Result) => result.endToEndMs[0],
  p99: (result: Result) => result.endToEndMs[2],
  p50RatioToFloor: (result: Result, floor?: Result) => floor && result.endToEndMs[0] / floor.endToEndMs[0],
  p99RatioToFloor: (result: Result, floor?: Result) => floor && result.endToEndMs[2] / floor.endToEndMs[2],
  commits: (result: Result) => result.commitsPerEvent,
  walBytes: (result: Result) => result.walBytes,
  storedBytes: (result: Result) => result.storedBytes,
  lost: (result: Result) => result.lost,
  repeated: (result: Result) => result.repeated,
} as const
const valuesAtRest = {
  cpuPercent: (result: AtRest) => result.cpuPercent + result.postgresCpuPercent,
  nodePercent: (result: AtRest) => result.cpuPercent,
  postgresPercent: (result: AtRest) => result.postgresCpuPercent,
  commitsPerSecond: (result: AtRest) => result.commitsPerSecond,
} as const
export type Medians = { readonly [name in keyof typeof values | keyof typeof valuesAtRest | 'memoryMiB']?: number }

/**
 * Returns the median of each value over the rounds. A ratio to the floor is computed for each round, because scenario and floor have the same noise
 * only within a round.
 */
export function mediansOf(figures: readonly Figures[]): Medians {
  const rows = figures.map(({ result, floor }) => {
    const ownValues =
      'cpuPercent' in result
        ? Object.entries(valuesAtRest).map(([name, compute]) => [name, compute(result)] as const)
        : Object.entries(values).map(([name, compute]) => [name, compute(result, floor)] as const)
    return Object.fromEntries([...ownValues, ['memoryMiB', result.memoryMiB] as const])
  })
  const names = Object.keys(rows[0] ?? {})
  return Object.fromEntries(names.flatMap((name) => medianEntry(name, rows)))
}
function medianEntry(name: string, rows: readonly Record<string, number | undefined>[]): [string, number][] {
  const sorted = rows.flatMap((row) => row[name] ?? []).sort((a, b) => a - b)
  if (sorted.length === 0) return []
  const middle = Math.floor(sorted.length / 2)
  return [[name, sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2]]
}

const format = (value: number): string => (value >= 100 || value === 0 ? String(Math.round(value)) : value.toFixed(value >= 10 ? 1 : 2))
/** Returns the values that exist, joined. */
const join = (between: string, ...values: (number | undefined)[]): string =>
  values.flatMap((value) => (value === undefined ? [] : format(value))).join(between)

/** Returns a row of the table. All rows have the same columns, in the same order. */
export function rowOf(medians: Medians): Record<string, string> {
  const { cpuPercent, nodePercent, postgresPercent, commitsPerSecond } = medians
  const isAtRest = cpuPercent !== undefined
  return {
    'accepted/s': join('', medians.acceptedPerSecond),
    'delivered/s': join('', medians.deliveredPerSecond),
    'of floor': join('', medians.shareOfFloor),
    'CPU ms: node + pg': isAtRest
      ? `${join(' + ', nodePercent, postgresPercent)} % of a core`
      : join(' + ', medians.nodeMillis, medians.postgresMillis),
    'CPU of floor': join('', medians.cpuRatioToFloor),
    'accept p50 / p99 ms': join(' / ', medians.acceptP50, medians.acceptP99),
    'end to end p50 / p99 ms': join(' / ', medians.p50, medians.p99),
    'p50 / p99 of floor': join(' / ', medians.p50RatioToFloor, medians.p99RatioToFloor),
    commits: isAtRest ? `${join('', commitsPerSecond)} a second` : join('', medians.commits),
    'WAL B': join('', medians.walBytes),
    'stored B': join('', medians.storedBytes),
    MiB: join('', medians.memoryMiB),
    'lost / repeated': join(' / ', medians.lost, medians.repeated),
  }
}
