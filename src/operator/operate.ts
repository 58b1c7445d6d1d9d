import { Command } from 'commander'
import { readConfig } from '../config/config.ts'
import type { StreamName } from '../events/streams.ts'
import { codeOf } from '../lib/errors.ts'
import { createLog } from '../lib/log.ts'
import { compose, type Operator } from '../service/compose.ts'
import { refill } from './refill.ts'

/** Beside a service that runs, with the same environment: what is written to its database is seen by it at once. */
async function withOperator(work: (operator: Operator) => Promise<unknown>): Promise<void> {
  const { operator, stop } = await compose(readConfig(), createLog('warn', 2), { guest: true })
  try {
    console.log(JSON.stringify(await work(operator), null, 2))
  } finally {
    await stop()
  }
}

const program = new Command('operate').description('What an operator does by hand; npm run -s operate -- <command>')
program
  .command('quarantined')
  .description('streams that are set aside: which event failed, and why')
  .action(() => withOperator((operator) => operator.quarantined()))
program
  .command('retry <projection> <stream>')
  .description('take a stream again from the event that failed, after the cause was mended')
  .action((projection: string, stream: string) => withOperator((operator) => operator.lift(projection, stream as StreamName, false)))
program
  .command('skip <projection> <stream>')
  .description('go on without the event that failed: what it says is missing from this read model until it is rebuilt')
  .action((projection: string, stream: string) => withOperator((operator) => operator.lift(projection, stream as StreamName, true)))
program
  .command('rebuild <projection>')
  .description('build a read model anew beside the live one; readers are switched when it has caught up')
  .action((projection: string) => withOperator(async (operator) => ({ build: await operator.rebuild(projection) })))
program
  .command('backlog')
  .description('messages that are not done, and read models that have not read all events')
  .action(() => withOperator((operator) => operator.backlog()))
program
  .command('refill')
  .description('after Postgres was put back to an older backup: give it back what EventStoreDB knows; the service must be stopped')
  .action(async () => console.log(JSON.stringify(await refill(readConfig(), createLog('info', 2)), null, 2)))

program.parseAsync().catch((error: unknown) => {
  console.error(codeOf(error) === undefined ? error : `operate: ${(error as Error).message} (${codeOf(error)})`)
  process.exitCode = 1
})
