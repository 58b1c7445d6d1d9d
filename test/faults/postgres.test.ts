import { expect } from 'chai'
import pg from 'pg'
import { embeddedPostgres } from '../support/embedded-postgres.ts'
import { expectSurvival } from '../support/expect-survival.ts'
import type { Load } from '../support/load.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

/** Returns SQL that defines the function of a trigger with this body. On a full disk, the trigger of every table fails. */
const onWrite = (body: string) =>
  `create or replace function public.disk_is_full() returns trigger language plpgsql as $$ begin ${body}; end $$`
const fullDisk = [
  onWrite("raise 'could not extend file: No space left on device' using errcode = 'disk_full'"),
  `do $$ declare t regclass; begin
     for t in select oid from pg_class where relkind in ('r', 'p') and not relispartition
                 and relnamespace::regnamespace::text !~ '^(pg_|information_schema)' loop
       execute format('create trigger disk_is_full before insert or update on %s execute function public.disk_is_full()', t);
     end loop; end $$`,
]

describe('Postgres failing under load', () => {
  const { service, receiver } = withService({ each: true, variables: { KOLBAK_RETRY_DELAYS: '0.3,0.3,0.3' } })
  const onDatabase = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client((await embeddedPostgres(service.dataDir)).url)
    await client.connect()
    try {
      return await work(client)
    } finally {
      await client.end()
    }
  }
  it('loses no accepted event when all of its connections are ended again and again', async () => {
    await expectSurvival(service, receiver, async () => {
      const ours = "from pg_stat_activity where application_name like 'kolbak %' and application_name <> 'kolbak owner'"
      for (let i = 0; i < 3; i++)
        await onDatabase(async (client) => {
          await waitFor(async () => ((await client.query(`select ${ours}`)).rowCount ?? 0) > 2, { what: 'the service to have connected' })
          await client.query(`select pg_terminate_backend(pid) ${ours}`)
        })
    })
  })
  /** Expects that posts are refused during a fault, and that no loop retries without a pause (by the number of log lines). */
  const refuses = async (posting: Load, begin: readonly string[], end: readonly string[]) => {
    const query = (statements: readonly string[]) =>
      onDatabase(async (client) => {
        for (const statement of statements) await client.query(statement)
      })
    const refusals = () => posting.responses.get(503) ?? 0
    const [refusedBefore, logLinesBefore] = [refusals(), service.logLines.length]
    await query(begin)
    // Posts in flight at the beginning of the fault may still be accepted. After 50 refusals they have all ended.
    await waitFor(() => refusals() > refusedBefore + 50, { what: 'posts to be refused' })
    const accepted = posting.accepted.length
    await waitFor(() => refusals() - refusedBefore > 250, { what: 'more posts to be refused' })
    expect(posting.accepted.length - accepted, 'accepted meanwhile').to.be.lessThan(10)
    expect(service.logLines.length - logLinesBefore, 'lines that it logged meanwhile').to.be.lessThan(3 * (refusals() - refusedBefore))
    await query(end)
  }
  it('loses no accepted event when it is read-only for some seconds', async () => {
    await expectSurvival(service, receiver, async (posting) => {
      const reload = 'select pg_reload_conf()'
      await refuses(
        posting,
        ['alter system set default_transaction_read_only = on', reload],
        ['set default_transaction_read_only = off', 'alter system reset default_transaction_read_only', reload],
      )
    })
  })
  it('loses no accepted event when its disk is full for some seconds', async () => {
    await expectSurvival(service, receiver, async (posting) => {
      await refuses(posting, fullDisk, [onWrite('return null')])
    })
  })
  it('is started again when it is killed, and loses no accepted event', async () => {
    await expectSurvival(service, receiver, async () => {
      const { pid } = await embeddedPostgres(service.dataDir)
      process.kill(pid, 'SIGKILL')
      await waitFor(() => service.logLines.some((line) => line.msg === 'postgres.back'), { what: 'Postgres to be back' })
    })
  })
})
