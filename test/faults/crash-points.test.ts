import { expect } from 'chai'
import { type Point, points, rarePoints } from '../../src/events/steps.ts'
import { describeOn } from '../support/engine-sets.ts'
import { isFull } from '../support/is-full.ts'
import { waitFor } from '../support/wait-for.ts'
import { withReceiver } from '../support/with-services.ts'
import { expectAgreement } from './crash-checks.ts'
import { crash } from './crash-points.ts'
import { type Processes, startOneProcess, startRolesApart } from './crash-processes.ts'
import { sample, seed, seeded } from './crash-seed.ts'
import { traffic } from './crash-traffic.ts'

const moments = ['before', 'after'] as const
const ofOneEngine = /^(eventstoredb|cassandra)\./
/** The rare points are left out here. The model (test/model) and test/faults/eventstoredb-cluster.test.ts kill processes at them. */
const common = points.filter((point) => !rarePoints.has(point))
/** The steps that concern the audit log alone. One of them is always among the points of a run. */
const isOfLog = ({ point }: { point: Point }) => /^log\.|^erasure\./.test(point)
const onPostgres = common.filter((point) => !ofOneEngine.test(point))
/** Leaves out `produce.index`. Only a process with both an API and a dispatcher passes it, and only with the bus on Postgres. */
const withoutIndexing = (passed: readonly Point[]) => passed.filter((point) => point !== 'produce.index')

/**
 * Kills the processes before and after points that they pass.
 * @param sampleSize the number of kills. All points on all engines take half an hour (`npm run test:full`), so a default run uses a random sample.
 */
function suite(title: string, start: () => Promise<Processes>, passed: readonly Point[], sampleSize = passed.length * 2) {
  describe(title, () => {
    const random = seeded(seed)
    const receiver = withReceiver()
    let processes: Processes
    let round = 0
    before(async () => {
      processes = await start()
      await processes.ready()
    })
    after(async () => {
      await processes.stop()
    })

    it('passes every point when nothing fails, and repeats no request', async () => {
      const load = await traffic(processes.urls, receiver, ++round, random)
      const logLines = () => processes.all.flatMap((process) => process.logLines)
      const missing = () => passed.filter((point) => !logLines().some((line) => line.msg === 'point.passed' && line.point === point))
      await waitFor(() => missing().length === 0).catch(() => expect(missing(), 'points not passed').to.deep.equal([]))
      await load.stop()
      const { accepted, requests, duplicates } = await expectAgreement(processes.urls[0]!, load)
      console.log(`      ${accepted} accepted, ${requests} requests`)
      const complaints = logLines().filter(({ level }) => Number(level) >= 40)
      expect(duplicates, JSON.stringify(complaints)).to.deep.equal([])
    })

    const all = passed.flatMap((point) => moments.map((moment) => ({ point, moment })))
    const [ofLog, others] = [all.filter(isOfLog), all.filter((at) => !isOfLog(at))]
    const kills =
      sampleSize >= all.length ? sample(all, sampleSize, random) : [...sample(ofLog, 1, random), ...sample(others, sampleSize - 1, random)]
    for (const { point, moment } of kills)
      it(`recovers from a kill -9 ${moment} ${point}`, async () => {
        const { accepted, requests, duplicates, deaths } = await crash(processes, receiver, { point, moment, round: ++round, random })
        console.log(`      ${deaths} deaths, ${accepted} accepted, ${requests} requests, ${duplicates.length} repeated`)
      })

    it('leaves the audit log whole', async () => {
      const { code, out, err } = await processes.verify()
      expect(code, `${out}${err}`).to.equal(0)
    })
  })
}

const roles = ['api', 'dispatcher', 'projector']
suite(`a kill at each step (seed ${seed})`, startOneProcess, onPostgres, isFull ? undefined : 4)
if (isFull) {
  suite(`a kill at each step, roles apart (seed ${seed})`, () => startRolesApart(roles), withoutIndexing(onPostgres))
  describeOn('on other engines', ['eventstoredb', 'kafka', 'cassandra'], () => {
    suite(`a kill at each step (seed ${seed})`, startOneProcess, withoutIndexing(common))
    suite(`a kill at each step, roles apart (seed ${seed})`, () => startRolesApart(roles), withoutIndexing(common))
  })
}
