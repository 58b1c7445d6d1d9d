import { expectArrival, expectDelivery, expectNoRepetition } from '../support/expectations.ts'
import { startLoad } from '../support/load.ts'
import { soonTakenOver } from '../support/patience.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('two processes of every role', () => {
  const processes = withServices({ each: true, sharedDatabase: true, variables: { ...soonTakenOver, KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3' } })
  const { receiver, start, subscribe } = processes
  /** Returns the number of projections that each process runs, the fewest first. */
  const shares = async () => {
    const { rows } = await processes.db.pool.query<{ count: number }>(
      `select count(*)::int as count from leases where name like 'projection/%' and until > clock_timestamp() group by owner order by 1`,
    )
    return rows.map(({ count }) => count)
  }

  it('share the work without doing it twice, and continue when one process of each role dies', async () => {
    const roles = ['projector', 'projector', 'api', 'api', 'dispatcher', 'dispatcher']
    const all = await Promise.all(roles.map((role) => start({ KOLBAK_ROLES: role })))
    const processesWith = (role: string) => all.filter((_, i) => roles[i] === role)
    const [firstApi, secondApi] = processesWith('api')
    const api = await waitFor(() => clientOf(firstApi!.url))
    await subscribe(api, '/many')
    const loads = [firstApi, secondApi].map((service, i) =>
      startLoad(service!.url, `Bearer ${api.token}`, { perSecond: 40, from: i * 100_000 }),
    )
    await waitFor(() => loads.every((l) => l.accepted.length > 80))
    const posted = () => loads.flatMap((l) => l.accepted)
    const earlyIds = posted()
    await expectArrival(receiver, '/many', earlyIds)
    expectNoRepetition(receiver, '/many')
    await waitFor(async () => String(await shares()) === '4,5', { what: 'two projectors to share the projections' })
    const third = await start({ KOLBAK_ROLES: 'projector' })
    await waitFor(async () => String(await shares()) === '3,3,3', { what: 'a third projector to get its share' })
    await third.kill('SIGTERM')
    await waitFor(async () => String(await shares()) === '4,5', { what: 'the others to have its share', within: 3_000 })
    // One process of each role is killed, so the others have to do all the work.
    await Promise.all(['projector', 'dispatcher', 'api'].map((role) => processesWith(role)[1]!.kill('SIGKILL')))
    await waitFor(async () => String(await shares()) === '9', { what: 'the other projector to run all projections' })
    const before = loads[0]!.accepted.length
    await waitFor(() => loads[0]!.accepted.length > before + 80)
    await Promise.all(loads.map((l) => l.stop()))
    await expectArrival(receiver, '/many', posted())
    await expectDelivery(api, loads[0]!.accepted.at(-1)!, 'success')
  })
})
