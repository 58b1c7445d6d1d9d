import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { readConfig } from '../config/config.ts'
import { exitAtEndSignal } from '../lib/end-signals.ts'
import { cannotStart, codeOf, lineOf } from '../lib/errors.ts'
import { createLog } from '../lib/log.ts'
import type { Fault } from '../operator/verify-faults.ts'

/** Exit codes of the checks, so that a cron job can tell faults from a check that could not be made. */
const exitCodes = { clean: 0, faulty: 1, notChecked: 2 } as const
/** The codes of errors that say that the log is not what Kolbak wrote. */
const faults = new Set(['event_forged', 'batch_altered', 'log_forked'])

/**
 * Adds the commands that work on the audit log itself. They use the engines directly, with the environment of the service, so that their results do
 * not depend on what the service reports.
 */
export function auditCommands(program: Command): Command {
  const audit = program.commands.find((command) => command.name() === 'audit')
  if (audit === undefined) throw new Error('the command audit is missing')
  addVerify(audit)
  addProofs(audit)
  addHead(audit)
  addExport(audit)
  addPage(audit)
  addDeclareLoss(audit)
  return program
}

function addVerify(audit: Command): void {
  audit
    .command('verify')
    .description('check every event of the audit log and every head that was given out; the service may run')
    .option('--head <file...>', 'files with heads that were kept elsewhere')
    .option('--batches <count>', 'how many batches of attempts to compute again, or all', '100')
    .option('--read-models', 'build the read models again from the events, and compare them')
    .option('--json', 'print the result as JSON')
    .action(
      async ({ head = [], batches, readModels = false }: { head?: string[]; batches: string; readModels?: boolean }, command: Command) => {
        const { json } = command.optsWithGlobals<{ json?: boolean }>()
        const count = batches === 'all' ? Number.POSITIVE_INFINITY : Number(batches)
        await checking(() => runVerify({ files: head, batches: count, readModels, isJson: json === true }))
      },
    )
}

function addProofs(audit: Command): void {
  audit
    .command('prove')
    .description('print a proof of a change or a delivery, which docs/verify.mjs checks without Kolbak; the service may run')
    .argument('<id>', 'the event_id of a change, or the id of a delivery')
    .option('--disclose <fields>', 'sealed fields whose values the proof shows, separated by commas: callback_url, origin, ...')
    .option('--head <file...>', 'files with heads that were kept elsewhere, and that the proof must agree with')
    .action(async (id: string, { disclose, head = [] }: { disclose?: string; head?: string[] }) => {
      await checking(async () => {
        const { prove } = await import('../operator/prove.ts')
        const fields = disclose === undefined ? [] : disclose.split(',').map((field) => field.trim())
        print(await prove(readConfig(), createLog('warn', { fd: 2 }), id, { disclose: fields, heads: await readHeads(head) }))
      })
    })
  audit
    .command('prove-not')
    .description('print a proof that a message was not routed to a webhook, and why; the service may run')
    .argument('<message>', 'the id of the event that was posted')
    .argument('<webhook>')
    .option('--head <file...>', 'files with heads that were kept elsewhere, and that the proof must agree with')
    .action(async (message: string, webhook: string, { head = [] }: { head?: string[] }) => {
      await checking(async () => {
        const { proveNot } = await import('../operator/prove-not.ts')
        print(await proveNot(readConfig(), createLog('warn', { fd: 2 }), { message, webhook }, { heads: await readHeads(head) }))
      })
    })
}

function addHead(audit: Command): void {
  audit
    .command('head')
    .description('print the newest head, to keep it elsewhere; with --since-head, print a proof that the log still contains older heads')
    .option('--since-head <file...>', 'files with heads that were kept elsewhere')
    .addOption(
      new Option('--witness <key@url...>', 'witnesses that sign the head; each refuses a log that was changed').conflicts('sinceHead'),
    )
    .addOption(
      new Option('--cosigned', 'print the newest head that a witness has signed for the service').conflicts(['sinceHead', 'witness']),
    )
    .action(async ({ sinceHead, witness, cosigned = false }: { sinceHead?: string[]; witness?: string[]; cosigned?: boolean }) => {
      await checking(async () => {
        const { proveHeads, readNewestHead } = await import('../operator/log-proofs.ts')
        const log = createLog('warn', { fd: 2 })
        if (witness !== undefined) {
          const { cosignedHead } = await import('../operator/cosign.ts')
          const { parseWitness } = await import('../lib/witness.ts')
          process.stdout.write(await cosignedHead(readConfig(), log, witness.map(parseWitness)))
        } else if (sinceHead === undefined) process.stdout.write(await readNewestHead(readConfig(), log, { isCosigned: cosigned }))
        else {
          print(await proveHeads(readConfig(), log, await readHeads(sinceHead)))
          console.error(
            "Compared with the audit log's own copy of the events. `kolbak audit verify --head` compares the heads with the event store.",
          )
        }
      })
    })
}

function addExport(audit: Command): void {
  audit
    .command('export')
    .description('write the audit log into a new folder, which docs/verify.mjs checks without Kolbak; the service may run')
    .argument('<folder>')
    .option('--tenant <id>', 'show the events of this tenant, and of the events of others only the hashes')
    .option('--attempts', 'also write the attempts and routing events that the retention has not dropped')
    .action(async (folder: string, { tenant, attempts = false }: { tenant?: string; attempts?: boolean }) => {
      await checking(async () => {
        const { exportLog } = await import('../operator/export.ts')
        const { isTTY } = process.stderr
        const { size, batches, forged, forgedAttempts } = await exportLog(readConfig(), createLog('warn', { fd: 2 }), folder, {
          ...(tenant === undefined ? {} : { tenant }),
          attempts,
          onProgress: (entries) => isTTY && process.stderr.write(`\r${entries} entries`),
        })
        if (isTTY) process.stderr.write('\r\u001b[K')
        const isForged = (count: number, word: string) =>
          count === 0 ? '' : ` ${counted(count, word)} of them ${count === 1 ? 'is' : 'are'} forged or altered.`
        const warning = isForged(forged.length, 'event') + isForged(forgedAttempts.length, 'attempt')
        console.log(
          `${counted(size, 'event')}${attempts ? ` and ${batches} ${batches === 1 ? 'batch' : 'batches'}` : ''} written to ${folder}.${warning}`,
        )
        if (warning !== '') process.exitCode = exitCodes.faulty
      })
    })
}

function addPage(audit: Command): void {
  audit
    .command('page')
    .description(
      'print a page that checks proofs and exports in a browser, without Kolbak and without a network: kolbak audit page > verify.html',
    )
    .action(async () => {
      const { loadVerifyPage } = await import('../ui/bundle.ts')
      process.stdout.write((await loadVerifyPage()).content)
    })
}

function addDeclareLoss(audit: Command): void {
  audit
    .command('declare-loss')
    .description('declare that events after the last known head are lost; stop the service first')
    .requiredOption('--reason <text>', 'why they are lost; the audit log keeps this text for ever')
    .action(async ({ reason }: { reason: string }) => {
      exitAtEndSignal()
      const { declareLoss } = await import('../operator/declare-loss.ts')
      try {
        print(await declareLoss(readConfig(), createLog('warn', { fd: 2 }), reason))
      } catch (error) {
        printProblem(error)
        process.exitCode = codeOf(error) === 'invalid_config' ? cannotStart : 1
      }
    })
}

const print = (value: object) => console.log(JSON.stringify(value, null, 2))
const printProblem = (error: unknown) => console.error(lineOf(error) === undefined ? error : `kolbak: ${lineOf(error)}`)

/** Runs a check. An error sets the exit code. */
async function checking(work: () => Promise<void>): Promise<void> {
  exitAtEndSignal()
  try {
    await work()
  } catch (error) {
    printProblem(error)
    process.exitCode = faults.has(codeOf(error) ?? '') ? exitCodes.faulty : exitCodes.notChecked
  }
}

/** Returns the heads in files. A file has a signed note, or it is an anchor file, whose last line has the newest head. */
const readHeads = (files: readonly string[]): Promise<string[]> =>
  Promise.all(
    files.map(async (file) => {
      const text = await readFile(file, 'utf8')
      const lastLine = text.trimEnd().split('\n').at(-1) ?? ''
      return lastLine.startsWith('{') ? String((JSON.parse(lastLine) as { note?: unknown }).note) : text
    }),
  )

const counted = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`

/** Prints one line about a fault, and indented lines that say what was changed. */
function printFault({ where, fault, event, changes = [], notes = [], follows_from: causes = [] }: Fault): void {
  console.log(`${where} ${fault}${causes.length === 0 ? '' : `; follows from ${listed(causes)}`}`)
  if (event !== undefined) console.log(`    ${event.type}, event ${event.id}, by ${event.actor} at ${event.time}`)
  for (const { field, was, is } of changes)
    console.log(
      where.startsWith('read model ')
        ? `    ${field} is ${textOf(is)}; the events say ${textOf(was)}`
        : `    ${field} is ${textOf(is)}, was ${textOf(was)}`,
    )
  for (const note of notes) console.log(`    ${note}`)
}
/** Returns a value on one line. A change of a long text is shown with its beginning. */
const textOf = (value: unknown): string =>
  (value === null ? 'absent' : typeof value === 'string' ? value : JSON.stringify(value)).slice(0, 300)
const listed = (places: readonly string[]): string =>
  `${places.slice(0, 3).join(', ')}${places.length > 3 ? ` and ${places.length - 3} more` : ''}`

interface VerifyFlags {
  readonly files: readonly string[]
  readonly batches: number
  readonly readModels: boolean
  readonly isJson: boolean
}
async function runVerify({ files, batches, readModels, isJson }: VerifyFlags): Promise<void> {
  const { verify } = await import('../operator/verify.ts')
  const { isTTY } = process.stderr
  const result = await verify(readConfig(), createLog('warn', { fd: 2 }), {
    heads: await readHeads(files),
    batches,
    readModels,
    onProgress: (events) => isTTY && process.stderr.write(`\r${events} events`),
  })
  if (isTTY) process.stderr.write('\r\u001b[K')
  if (isJson) print(result)
  else {
    const [causes, consequences] = [false, true].map((follows) =>
      result.faults.filter((fault) => (fault.follows_from !== undefined) === follows),
    )
    for (const fault of causes ?? []) printFault(fault)
    if (consequences !== undefined && consequences.length > 0) {
      console.log('\nWhat follows from these faults:')
      for (const fault of consequences) printFault(fault)
      console.log()
    }
    const follow = consequences?.length ?? 0
    if (result.faults.length > 0 && result.copyAgreesUpTo > 0)
      console.log(`The audit log's own copy of the events has the root of the head of ${counted(result.copyAgreesUpTo, 'event')}.`)
    const unproven = result.events - result.withMac
    const { checked, sealed } = result.batches
    const models = result.readModels.length === 0 ? '' : `, ${counted(result.readModels.length, 'read model')}`
    console.log(
      `${counted(result.events, 'event')}, ${counted(result.heads, 'head')}${models} and ${checked} of ${sealed} ${sealed === 1 ? 'batch' : 'batches'} checked: ` +
        `${result.faults.length === 0 ? 'no fault' : counted(result.faults.length - follow, 'fault')}${follow === 0 ? '' : `, and ${counted(follow, 'difference')} that ${follow === 1 ? 'follows' : 'follow'} from ${result.faults.length - follow === 1 ? 'it' : 'them'}`}.` +
        (unproven > 0 ? ` ${counted(unproven, 'event')} without a MAC, stored before LogStarted: only the heads prove them.` : ''),
    )
  }
  process.exitCode = result.faults.length === 0 ? exitCodes.clean : exitCodes.faulty
}
