import { env } from 'node:process'
import { type Deployment, startDeployment } from './deployment.ts'
import { faults } from './faults.ts'
import { repeatedIn } from './ledger.ts'
import { expectWithin, lineOf, measure, type Row, tableOf } from './run-fault.ts'

/** The number of times that each fault is caused. */
const rounds = Number(env.CLUSTER_ROUNDS ?? 1)
const perSecond = Number(env.CLUSTER_POSTS_PER_SECOND ?? 60)

describe(`clusters of three under ${perSecond} posts a second`, () => {
  const rows: Row[] = []
  let deployment: Deployment | undefined
  before(async () => {
    console.log(
      '  Postgres, three nodes each of Cassandra, Kafka and EventStoreDB, and seven processes are starting, which takes about a minute.',
    )
    deployment = await startDeployment()
  })
  after(async () => {
    await deployment?.stop()
    console.log(`\n${tableOf(rows)}\n`)
    const accepted = rows.reduce((sum, row) => sum + row.accepted, 0)
    // A request may be repeated after the figures of its fault were taken, so all repetitions are counted again.
    if (deployment !== undefined) console.log(`${accepted} events accepted, ${repeatedIn(deployment.arrivals)} requests repeated`)
  })

  for (const fault of faults)
    for (let round = 1; round <= rounds; round++)
      it(`lose nothing: ${fault.name}${rounds === 1 ? '' : ` (round ${round})`}`, async () => {
        const row = await measure(deployment!, fault, perSecond)
        rows.push(row)
        console.log(`      ${lineOf(row)}`)
        expectWithin(row, fault)
      })
})
