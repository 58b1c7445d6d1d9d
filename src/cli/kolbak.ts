#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { KolbakError } from '../lib/errors.ts'
import { addModule, commandModules } from './command-modules.ts'
import { commandName } from './command-name.ts'
import { CommandError, UsageError } from './errors.ts'
import { withSessionOptions } from './session.ts'
import { printError } from './verb.ts'

const program = withSessionOptions(new Command(commandName))
  .description('Controls a running Kolbak over HTTP.')
  .showHelpAfterError(`(${commandName} --help lists all commands)`)
  .exitOverride()
const words = process.argv.slice(2)
for (const module of commandModules) {
  const names = Object.entries(module.commands)
  if (names.some(([name]) => words.includes(name))) await addModule(program, module)
  else for (const [name, description] of names) program.command(name).description(description)
}
program.addHelpText(
  'after',
  `
To try it, with the service running on this machine (npm run dev):
  ${commandName} listen 'order.*'                        in a first terminal
  ${commandName} send order.created '{"order": 7}'       in a second terminal
  ${commandName} trace <event id>`,
)
process.stdout.on('error', () => {}) // the reader of a pipe, such as `head`, may close it before everything is printed
try {
  await program.parseAsync()
} catch (error) {
  // Commander has printed its own sentence, for example about an option.
  // A command without a subcommand prints its help, which is what the caller asked for.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 || error.code === 'commander.help' ? 0 : 2
  else if (error instanceof CommandError || error instanceof UsageError || error instanceof KolbakError)
    process.exitCode = printError(error, words.includes('--json'))
  else throw error
}
