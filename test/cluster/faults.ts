import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { waitFor } from '../support/wait-for.ts'
import { type Deployment, type Member, problemsOf, type Role, topic } from './deployment.ts'
import type { Ledger } from './ledger.ts'

/** A fault of the engines or of Kolbak's processes. */
export interface Fault {
  readonly name: string
  /** Causes the fault while events are posted, and repairs it. Returns a remark for the table of results, or undefined. */
  run(deployment: Deployment, ledger: Ledger): Promise<string | undefined>
  /** The most milliseconds that may pass without any delivery. */
  readonly standStillMs: number
  /** The most milliseconds from the post of an event to its first delivery, for 99 % of the events. */
  readonly p99Ms: number
  /** Whether posts may be refused or stay without a response. */
  readonly mayRefuse?: boolean
  /** Whether `npm run test:full` causes the fault too. */
  readonly isInFullMatrix?: boolean
}

const seconds = (count: number): Promise<undefined> => sleep(count * 1_000, undefined)

/** Returns the process that has the most leases in the database. */
async function mostLeases(members: readonly Member[], { postgres }: Deployment): Promise<Member> {
  const rows = await postgres.query('select owner, count(*)::int as leases from leases where until > now() group by owner')
  const leasesOf = ({ id }: Member) => Number(rows.find(({ owner }) => owner === id)?.leases ?? 0)
  return members.reduce((most, member) => (leasesOf(member) > leasesOf(most) ? member : most))
}

/** Waits until every process of these roles reports this check as failed. Returns the seconds that the last of them needed. */
async function untilNotReady(deployment: Deployment, roles: readonly Role[], check: string): Promise<number> {
  const since = performance.now()
  await Promise.all(
    roles
      .flatMap((role) => deployment.members(role))
      .map(({ service, role }) =>
        waitFor(async () => (await problemsOf(service.url)).includes(check), { what: `the ${role} to report that ${check} fails` }),
      ),
  )
  return Math.round((performance.now() - since) / 1_000)
}
const expectReady = async (deployment: Deployment, role: Role) => {
  for (const { service } of deployment.members(role)) expect(await problemsOf(service.url), `problems of the ${role}`).to.deep.equal([])
}

/** The tested faults, in the order in which they are caused. The limits are well above the figures
 * in docs/operations.md, so that a machine with other work keeps them too. */
export const faults: readonly Fault[] = [
  { name: 'none, for comparison', run: () => seconds(15), standStillMs: 5_000, p99Ms: 10_000 },
  {
    name: 'the coordinating broker frozen for 50 s',
    async run({ kafka }) {
      const broker = await kafka.coordinator()
      broker.freeze()
      await seconds(50)
      broker.thaw()
    },
    standStillMs: 35_000,
    p99Ms: 60_000,
    mayRefuse: true,
  },
  {
    name: 'a broker killed, and started after 25 s',
    async run({ kafka }) {
      const broker = await kafka.leaderOf(topic)
      await broker.kill()
      await seconds(25)
      broker.start()
    },
    standStillMs: 30_000,
    p99Ms: 40_000,
    isInFullMatrix: true,
  },
  {
    name: 'two of three brokers killed for 25 s',
    async run(deployment) {
      const brokers = deployment.kafka.nodes.slice(0, 2)
      await Promise.all(brokers.map((broker) => broker.kill()))
      const [notReadyAfterS] = await Promise.all([untilNotReady(deployment, ['api', 'dispatcher'], 'message bus'), seconds(25)])
      await expectReady(deployment, 'projector')
      for (const broker of brokers) broker.start()
      return `api and dispatchers not ready after ${notReadyAfterS} s`
    },
    standStillMs: 90_000,
    p99Ms: 120_000,
    mayRefuse: true,
  },
  {
    name: 'a node of Cassandra frozen for 20 s',
    async run({ cassandra }) {
      const [node] = cassandra.nodes
      node!.freeze()
      await seconds(20)
      node!.thaw()
    },
    standStillMs: 5_000,
    p99Ms: 20_000,
  },
  {
    name: 'two nodes of Cassandra frozen for 25 s',
    async run(deployment) {
      const nodes = deployment.cassandra.nodes.slice(1)
      for (const node of nodes) node.freeze()
      const [notReadyAfterS] = await Promise.all([untilNotReady(deployment, ['dispatcher', 'projector'], 'delivery log'), seconds(25)])
      await expectReady(deployment, 'api')
      for (const node of nodes) node.thaw()
      return `dispatchers and projectors not ready after ${notReadyAfterS} s`
    },
    standStillMs: 60_000,
    p99Ms: 60_000,
  },
  {
    name: 'the leader of EventStoreDB killed for 10 s',
    async run({ store }) {
      const leader = await store.leader()
      await leader.kill()
      await seconds(10)
      await leader.restart()
    },
    standStillMs: 5_000,
    p99Ms: 15_000,
  },
  {
    name: 'the leader of EventStoreDB frozen for 20 s',
    async run({ store }) {
      const leader = await store.leader()
      await leader.freeze()
      await seconds(20)
      await leader.thaw()
    },
    standStillMs: 5_000,
    p99Ms: 15_000,
  },
  {
    name: 'the projector with the most leases killed, and started after 5 s',
    async run(deployment) {
      const projector = await mostLeases(deployment.members('projector'), deployment)
      await deployment.end(projector, 'SIGKILL')
      await seconds(5)
      await deployment.start('projector')
      await seconds(10)
    },
    standStillMs: 10_000,
    p99Ms: 15_000,
  },
  {
    name: 'the projector with the most leases frozen for 20 s',
    async run(deployment) {
      const { service } = await mostLeases(deployment.members('projector'), deployment)
      service.child.kill('SIGSTOP')
      await seconds(20)
      service.child.kill('SIGCONT')
    },
    standStillMs: 10_000,
    p99Ms: 15_000,
  },
  {
    name: 'both projectors stopped for 20 s',
    async run(deployment) {
      await Promise.all(deployment.members('projector').map((projector) => deployment.end(projector, 'SIGTERM')))
      await seconds(20)
      for (let i = 0; i < 2; i++) await deployment.start('projector')
    },
    standStillMs: 5_000,
    p99Ms: 10_000,
  },
  {
    name: 'a dispatcher killed, and started after 1 s',
    async run(deployment) {
      await deployment.end(deployment.members('dispatcher')[0]!, 'SIGKILL')
      await seconds(1)
      await deployment.start('dispatcher')
      await seconds(15)
    },
    standStillMs: 20_000,
    p99Ms: 30_000,
  },
  {
    name: 'a dispatcher stopped while it joins, three times',
    async run(deployment) {
      for (const afterMs of [0, 200, 600]) {
        const { child, logLines, exited } = deployment.spawn('dispatcher')
        await waitFor(() => logLines.some(({ msg }) => msg === 'kolbak.ready'), { what: 'the dispatcher to be ready' })
        await sleep(afterMs)
        child.kill('SIGTERM')
        expect(await exited, 'exit code').to.equal(0)
        await seconds(3)
      }
    },
    standStillMs: 15_000,
    p99Ms: 20_000,
  },
  {
    name: 'partitions raised from 8 to 12, the processes with the role api restarted first',
    async run(deployment, ledger) {
      deployment.addPartitions(4)
      const restart = async (role: Role) => {
        for (const member of deployment.members(role)) {
          await deployment.start(role)
          await deployment.end(member, 'SIGTERM')
        }
      }
      await restart('api')
      // Until the dispatchers are restarted too, they must find the new partitions by themselves.
      await seconds(15)
      await ledger.flowing()
      await restart('dispatcher')
    },
    standStillMs: 10_000,
    p99Ms: 20_000,
  },
  {
    name: 'Postgres stopped for 20 s',
    async run({ postgres }) {
      await postgres.stop()
      await seconds(20)
      await postgres.start()
    },
    standStillMs: 60_000,
    p99Ms: 60_000,
    mayRefuse: true,
  },
]
