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
import { Refused, withSessionOptions } from './session.ts'
import { tokenCommand } from './token.ts'
import { traceCommand } from './trace.ts'
import { webhooksCommand } from './webhooks.ts'

const program = withSessionOptions(new Command('kolbak'))
  .description('Talks to a running Kolbak over HTTP.')
  .showHelpAfterError('(kolbak --help shows what there is)')
for (const add of [
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
  add(program)
program.addHelpText(
  'after',
  `
A first round, with the service running on this machine:
  kolbak listen 'order.*'                        in one terminal
  kolbak send order.created '{"order": 7}'       in another
  kolbak trace <event id>`,
)
try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof Refused || error instanceof SyntaxError || error instanceof KolbakError)) throw error
  console.error(`kolbak: ${error.message}`)
  process.exitCode = 1
}
