import type { Point } from '../../src/events/steps.ts'
import type { Crash } from '../support/crash-at.ts'
import type { Receiver } from '../support/receiver.ts'
import { waitFor } from '../support/wait-for.ts'
import { expectAgreement, type Tally } from './crash-checks.ts'
import { mostRepeated, type Processes } from './crash-processes.ts'
import { traffic } from './crash-traffic.ts'

/** Points that a process passes at its start, and only seldom later. */
const atStart: ReadonlySet<Point> = new Set(['leases.take'])

/**
 * Kills a process at a point under load, and once more at the same point while it recovers. Then expects that the service agrees with its callers and
 * its receiver.
 * Returns the tally of the load, and how many processes died.
 */
export async function crash(
  processes: Processes,
  receiver: Receiver,
  { round, random, ...at }: { point: Point; moment: Crash['moment']; round: number; random: () => number },
): Promise<Tally & { deaths: number }> {
  const url = processes.urls[0]!
  await processes.ready()
  const before = processes.deaths
  const load = await traffic(processes.urls, receiver, round, random)
  const grown = async (count: number) => {
    const from = load.accepted().length
    await waitFor(() => load.accepted().length > from + count, { what: 'events to be accepted' })
  }
  try {
    await grown(30)
    const count = 1 + Math.floor(random() * 3)
    const isAtStart = atStart.has(at.point)
    await processes.plan([
      { ...at, count, from: isAtStart ? 'start' : 'signal' },
      { ...at, count: 1, from: 'start' },
    ])
    for (const process of processes.all) process.signal(isAtStart ? 'SIGKILL' : 'SIGUSR2')
    const kills = isAtStart ? processes.all.length : 0
    await waitFor(() => processes.deaths > before + kills, { what: `a death ${at.moment} ${at.point}` })
    await processes.ready()
    await grown(30)
  } finally {
    await load.stop()
    // The second crash is cancelled if the process did not pass the point again.
    await processes.plan([])
  }
  await processes.ready()
  const tally = await expectAgreement(url, load)
  const deaths = processes.deaths - before
  const failures = processes.failures.splice(0)
  if (failures.length > 0) throw new Error(failures.join('\n'))
  if (tally.duplicates.length > deaths * mostRepeated) {
    const complaints = processes.all.flatMap((process) => process.logLines).filter(({ level }) => Number(level) >= 40)
    const evidence = [...tally.duplicates.slice(0, 5), ...complaints.slice(-20).map((line) => JSON.stringify(line))]
    throw new Error([`${tally.duplicates.length} requests were repeated after ${deaths} deaths`, ...evidence].join('\n'))
  }
  return { ...tally, deaths }
}
