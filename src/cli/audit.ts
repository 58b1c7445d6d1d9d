import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { readConfig } from '../config/config.ts'
import { exitAtEndSignal } from '../lib/end-signals.ts'
import { cannotStart, codeOf, lineOf } from '../lib/errors.ts'
import { createLog } from '../lib/log.ts'

/** Exit codes of `verify`, so that a cron job can tell faults from a check that could not be made. */
const exitCodes = { clean: 0, faulty: 1, notChecked: 2 } as const

/**
 * Adds the commands that work on the audit log itself. They use the engines directly, with the environment of the service, so that they do not depend on
 * what the service says of itself.
 */
export function auditCommands(program: Command): Command {
  const audit = program.commands.find((command) => command.name() === 'audit')
  if (audit === undefined) throw new Error('the command audit is missing')
  audit
    .command('verify')
    .description('check every event of the audit log and every head that was given out; the service may run')
    .option('--head <file...>', 'files with heads that were kept elsewhere')
    .option('--batches <count>', 'how many batches of attempts to compute again, or all', '100')
    .option('--json', 'print the result as JSON')
    .action(async ({ head = [], batches }: { head?: string[]; batches: string }, command: Command) => {
      exitAtEndSignal()
      const { json } = command.optsWithGlobals<{ json?: boolean }>()
      try {
        await runVerify({ files: head, batches: batches === 'all' ? Number.POSITIVE_INFINITY : Number(batches), isJson: json === true })
      } catch (error) {
        console.error(lineOf(error) === undefined ? error : `kolbak: ${lineOf(error)}`)
        process.exitCode = exitCodes.notChecked
      }
    })
  audit
    .command('declare-loss')
    .description('declare that events after the last known head are lost; stop the service first')
    .requiredOption('--reason <text>', 'why they are lost; the audit log keeps it for ever')
    .action(async ({ reason }: { reason: string }) => {
      exitAtEndSignal()
      const { declareLoss } = await import('../operator/declare-loss.ts')
      try {
        console.log(JSON.stringify(await declareLoss(readConfig(), createLog('warn', { fd: 2 }), reason), null, 2))
      } catch (error) {
        console.error(lineOf(error) === undefined ? error : `kolbak: ${lineOf(error)}`)
        process.exitCode = codeOf(error) === 'invalid_config' ? cannotStart : 1
      }
    })
  return program
}

async function runVerify({ files, batches, isJson }: { files: readonly string[]; batches: number; isJson: boolean }): Promise<void> {
  const { verify } = await import('../operator/verify.ts')
  const heads = await Promise.all(files.map((file) => readFile(file, 'utf8')))
  const { isTTY } = process.stderr
  const result = await verify(readConfig(), createLog('warn', { fd: 2 }), {
    heads,
    batches,
    onProgress: (events) => isTTY && process.stderr.write(`\r${events} events`),
  })
  if (isTTY) process.stderr.write('\r\u001b[K')
  if (isJson) console.log(JSON.stringify(result, null, 2))
  else {
    for (const { where, fault } of result.faults) console.log(`${where} ${fault}`)
    const unproven = result.events - result.withMac
    console.log(
      `${result.events} events, ${result.heads} heads and ${result.batches.checked} of ${result.batches.sealed} batches checked: ${result.faults.length === 0 ? 'no fault' : `${result.faults.length} faults`}.` +
        (unproven > 0 ? ` ${unproven} events have no MAC: they were stored before LogStarted, and only the heads prove them.` : ''),
    )
  }
  process.exitCode = result.faults.length === 0 ? exitCodes.clean : exitCodes.faulty
}
