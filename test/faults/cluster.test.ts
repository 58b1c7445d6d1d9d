import { type Deployment, startDeployment } from '../cluster/deployment.ts'
import { faults } from '../cluster/faults.ts'
import { expectWithin, lineOf, measure } from '../cluster/run-fault.ts'
import { needsEngines } from '../support/engines/jars.ts'
import { isFull } from '../support/is-full.ts'

// `npm run test:cluster` causes all faults. The clusters take minutes, so by default none of them are started here.
if (isFull)
  describe('seven processes on clusters of three', () => {
    let deployment: Deployment | undefined
    before(async function () {
      await needsEngines(this, ['kafka', 'cassandra'])
      deployment = await startDeployment()
    })
    after(() => deployment?.stop())

    for (const fault of faults.filter(({ isInFullMatrix }) => isInFullMatrix))
      it(`lose nothing, and deliver again in time: ${fault.name}`, async () => {
        const row = await measure(deployment!, fault, 60)
        console.log(`      ${lineOf(row)}`)
        expectWithin(row, fault)
      })
  })
