import { Command, CommanderError } from 'commander'
import { readConfig } from '../config/config.ts'
import type { StreamName } from '../events/streams.ts'
import { exitAtEndSignal } from '../lib/end-signals.ts'
import { cannotStart, codeOf, lineOf } from '../lib/errors.ts'
import { createLog } from '../lib/log.ts'
import { backup, restore } from './backup.ts'
import { type OperatorWork, withOperator } from './online.ts'
import { rebuildChecked } from './rebuild.ts'
import type { Act } from './recorded-act.ts'
import { refill } from './refill.ts'

/**
 * Runs the work, and prints the result. The service may run meanwhile. The environment must be that of the service.
 * @param act the command, if it changes something, for the audit log
 */
async function print(work: OperatorWork<unknown>, act?: Act): Promise<void> {
  console.log(JSON.stringify(await withOperator(readConfig(), createLog('warn', { fd: 2 }), work, act), null, 2))
}

/** Lifts a stream's quarantine, and prints the result. */
const lift = (projection: string, stream: string, skip: boolean): Promise<void> =>
  print((operator) => operator.lift(projection, stream as StreamName, skip), {
    command: `operate ${skip ? 'skip' : 'retry'}`,
    arguments: { projection, stream },
  })

/** Makes or restores a backup, and prints facts about the backup. With the file `-`, standard output may be the backup itself. */
async function printFacts(work: typeof backup, file: string): Promise<void> {
  const facts = await work(readConfig(), createLog('info', { fd: 2 }), file, (sentence) => console.error(sentence))
  const print = file === '-' ? console.error : console.log
  print(JSON.stringify(facts, null, 2))
}

const program = new Command('operate').description('do the manual work of an operator: npm run -s operate -- <command>').exitOverride()
program
  .command('quarantined')
  .description('list the quarantined streams: which event failed, and why')
  .action(() => print((operator) => operator.quarantined()))
program
  .command('retry <projection> <stream>')
  .description('read a quarantined stream again, beginning with the event that failed; first fix what made it fail')
  .action((projection: string, stream: string) => lift(projection, stream, false))
program
  .command('skip <projection> <stream>')
  .description('go on without the event that failed: this read model misses it until the next rebuild')
  .action((projection: string, stream: string) => lift(projection, stream, true))
program
  .command('rebuild <projection>')
  .description('check the events, and build a read model again beside the live one; readers are switched when it has caught up')
  .option('--despite-faults', 'build it although events have faults: they and the events after them in their streams are left out')
  .action((projection: string, { despiteFaults: isDespiteFaults = false }: { despiteFaults?: boolean }) =>
    print(async (operator, context) => ({ build: await rebuildChecked({ operator, ...context }, projection, { isDespiteFaults }) }), {
      command: 'operate rebuild',
      arguments: { projection, ...(isDespiteFaults ? { despite_faults: 'true' } : {}) },
    }),
  )
program
  .command('backlog')
  .description('count the records of the bus that are not done, and list the read models that have not read all events')
  .action(() => print((operator) => operator.unfinished()))
program
  .command('refill')
  .description(
    'after a Postgres was restored from an older backup: add what is missing in it from the events in EventStoreDB; the service must be stopped',
  )
  .action(async () => console.log(JSON.stringify(await refill(readConfig(), createLog('info', { fd: 2 })), null, 2)))

program
  .command('backup <file>')
  .description('write a backup of the database to a new file, or to standard output for -; the service may run')
  .action((file: string) => printFacts(backup, file))
program
  .command('restore <file>')
  .description('restore a backup into an empty database, from a file, or from standard input for -; the service must be stopped')
  .action((file: string) => printFacts(restore, file))

exitAtEndSignal() // after SIGINT, SIGTERM or SIGHUP this process also stops the embedded Postgres that it has started
program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2 // commander has printed what is wrong
    return
  }
  console.error(lineOf(error) === undefined ? error : `operate: ${lineOf(error)}`)
  process.exitCode = codeOf(error) === 'invalid_config' ? cannotStart : 1
})
