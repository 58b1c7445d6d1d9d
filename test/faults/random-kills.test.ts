import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { describeOn } from '../support/engine-sets.ts'
import { isFull } from '../support/is-full.ts'
import { withReceiver } from '../support/with-services.ts'
import { expectAgreement } from './crash-checks.ts'
import { mostRepeated, type Processes, startRolesApart } from './crash-processes.ts'
import { seed, seeded } from './crash-seed.ts'
import { traffic } from './crash-traffic.ts'

const roles = ['projector', 'projector', 'api', 'api', 'dispatcher', 'dispatcher']
/** A freeze is longer than a lease (5 s), and often longer than a claim (10 s). */
const frozenMs = { min: 6_000, max: 12_000 }

function suite() {
  describe(`two processes of each role, killed and frozen at random (seed ${seed})`, () => {
    const receiver = withReceiver({ each: true })
    let processes: Processes
    beforeEach(async () => {
      processes = await startRolesApart(roles)
      await processes.ready()
    })
    afterEach(async () => {
      await processes.stop()
    })

    it('lose no event with a 202, and the history agrees with the receiver', async () => {
      const random = seeded(seed)
      const between = ({ min, max }: { min: number; max: number }) => min + random() * (max - min)
      const done = { kills: 0, drains: 0, freezes: 0 }
      const load = await traffic(processes.urls, receiver, 1, random)
      const end = performance.now() + (isFull ? 60_000 : 12_000)
      const thaws: Promise<void>[] = []
      while (performance.now() < end) {
        await sleep(between({ min: 200, max: 1_500 }))
        const victim = processes.all[Math.floor(random() * processes.all.length)]!
        const choice = random()
        if (choice < 0.6) {
          victim.signal('SIGKILL')
          done.kills++
        } else if (choice < 0.75) {
          victim.signal('SIGTERM')
          done.drains++
        } else {
          victim.signal('SIGSTOP')
          done.freezes++
          // If the process has been killed meanwhile, the signal goes to the process that replaced it.
          thaws.push(sleep(between(frozenMs)).then(() => victim.signal('SIGCONT')))
        }
      }
      await Promise.all(thaws)
      await processes.ready()
      await load.stop()
      const { accepted, requests, duplicates } = await expectAgreement(processes.urls[0]!, load)
      console.log(`      ${JSON.stringify(done)}: ${accepted} accepted, ${requests} requests, ${duplicates.length} repeated`)
      expect(processes.failures).to.deep.equal([])
      expect(duplicates.length).to.be.at.most((done.kills + done.drains + done.freezes) * mostRepeated)
    })
  })
}

suite()
if (isFull) describeOn('on other engines', ['eventstoredb', 'kafka', 'cassandra'], suite)
