import { Argument, type Command } from 'commander'
import { readConfig } from '../config/config.ts'
import { exitAtEndSignal } from '../lib/end-signals.ts'
import { createLog } from '../lib/log.ts'

// The list is repeated here, because an import of `operator/move.ts` would load the whole service for every other command.
const ports = ['event_store', 'message_bus', 'delivery_log'] as const

/**
 * Defines the command that moves a port to another engine. The command uses the engines directly, with the environment of the service, while no
 * process of the service runs.
 */
export const moveCommand = (program: Command): Command =>
  program
    .command('move')
    .description('move the data of a port from Postgres to the engine that is now configured for it; stop the service first')
    .addArgument(new Argument('<port>').choices(ports))
    .action(async (port: (typeof ports)[number]) => {
      exitAtEndSignal() // the Postgres that the move has started stops with it
      const { move } = await import('../operator/move.ts')
      console.log(JSON.stringify(await move(port, readConfig(), createLog('info', { fd: 2 })), null, 2))
    })
