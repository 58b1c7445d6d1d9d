#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { KolbakError } from '../lib/errors.ts'
import { CommandError, UsageError } from './errors.ts'
import { addRoom, rooms } from './rooms.ts'
import { withSessionOptions } from './session.ts'
import { printError } from './verb.ts'

const program = withSessionOptions(new Command('kolbak'))
  .description('Controls a running Kolbak over HTTP.')
  .showHelpAfterError('(kolbak --help lists all commands)')
  .exitOverride()
const words = process.argv.slice(2)
for (const room of rooms) {
  const names = Object.entries(room.commands)
  if (names.some(([name]) => words.includes(name))) await addRoom(program, room)
  else for (const [name, description] of names) program.command(name).description(description)
}
program.addHelpText(
  'after',
  `
To try it, with the service running on this machine (npm run dev):
  kolbak listen 'order.*'                        in a first terminal
  kolbak send order.created '{"order": 7}'       in a second terminal
  kolbak trace <event id>`,
)
process.stdout.on('error', () => {}) // the reader of a pipe, such as `head`, may close it before everything is printed
try {
  await program.parseAsync()
} catch (error) {
  // Commander has printed its own sentence, for example about an option.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else if (error instanceof CommandError || error instanceof UsageError || error instanceof KolbakError)
    process.exitCode = printError(error, words.includes('--json'))
  else throw error
}
