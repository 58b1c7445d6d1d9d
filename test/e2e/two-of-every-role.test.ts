import { expectArrival, expectDelivery, expectNoRepetition } from '../support/expectations.ts'
import { startLoad } from '../support/load.ts'
import { soonTakenOver } from '../support/patience.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('two processes of every role', () => {
  const processes = withServices({ each: true, sharedDatabase: true, variables: { ...soonTakenOver, KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3' } })
  const { receiver, start, subscribe } = processes
  /** Waits until this number of projectors runs all projections, with shares that differ by one at most. */
  const untilShared = (projectors: number, within?: number) =>
    waitFor(
      async () => {
        const { rows } = await processes.db.pool.query<{ even: boolean }>(
          `with shares as (
             select count(*) as size from leases where name like 'projection/%' and until > clock_timestamp() group by owner
           )
           select count(*) = $1 and max(size) - min(size) <= 1
             and sum(size) = (select count(*) from projections where is_live) as even from shares`,
          [projectors],
        )
        return rows[0]?.even
      },
      { what: `${projectors} projectors to share the projections`, ...(within === undefined ? {} : { within }) },
    )

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
    await untilShared(2)
    const third = await start({ KOLBAK_ROLES: 'projector' })
    await untilShared(3)
    await third.kill('SIGTERM')
    await untilShared(2, 3_000)
    // One process of each role is killed, so the others have to do all the work.
    await Promise.all(['projector', 'dispatcher', 'api'].map((role) => processesWith(role)[1]!.kill('SIGKILL')))
    await untilShared(1)
    const before = loads[0]!.accepted.length
    await waitFor(() => loads[0]!.accepted.length > before + 80)
    await Promise.all(loads.map((l) => l.stop()))
    await expectArrival(receiver, '/many', posted())
    await expectDelivery(api, loads[0]!.accepted.at(-1)!, 'success')
  })
})
