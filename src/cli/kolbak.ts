#!/usr/bin/env node
import { Command } from 'commander'
import { KolbakError } from '../lib/errors.ts'
import { deliveriesCommand } from './deliveries.ts'
import { eventsCommand } from './events.ts'
import { historyCommand } from './history.ts'
import { jobsCommand } from './jobs.ts'
import { keysCommand } from './keys.ts'
import { listenCommand } from './listen.ts'
import { moveCommand } from './move.ts'
import { sendCommand } from './send.ts'
import { CommandError, withSessionOptions } from './session.ts'
import { tokenCommand } from './token.ts'
import { traceCommand } from './trace.ts'
import { webhooksCommand } from './webhooks.ts'

const program = withSessionOptions(new Command('kolbak'))
  .description('Controls a running Kolbak over HTTP.')
  .showHelpAfterError('(kolbak --help lists all commands)')
for (const addCommand of [
  tokenCommand,
  keysCommand,
  webhooksCommand,
  sendCommand,
  eventsCommand,
  deliveriesCommand,
  jobsCommand,
  historyCommand,
  traceCommand,
  listenCommand,
  moveCommand,
])
  addCommand(program)
program.addHelpText(
  'after',
  `
To try it, with the service running on this machine:
  kolbak listen 'order.*'                        in a first terminal
  kolbak send order.created '{"order": 7}'       in a second terminal
  kolbak trace <event id>`,
)
try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommandError || error instanceof SyntaxError || error instanceof KolbakError)) throw error
  console.error(`kolbak: ${error.message}`)
  process.exitCode = 1
}
