import { Argument, type Command } from 'commander'
import { readConfig } from '../config/config.ts'
import { createLog } from '../lib/log.ts'

// Named here and not imported: everything that the service is made of would be loaded for every other verb.
const ports = ['event_store', 'message_bus', 'delivery_log'] as const

/** Takes a port to another engine: works on the engines themselves, with the service's own environment, while it is stopped. */
export const moveCommand = (program: Command): Command =>
  program
    .command('move')
    .description('take a port from Postgres to the engine that is configured for it now; the service must be stopped')
    .addArgument(new Argument('<port>').choices(ports))
    .action(async (port: (typeof ports)[number]) => {
      const { move } = await import('../operator/move.ts')
      console.log(JSON.stringify(await move(port, readConfig(), createLog('info', 2)), null, 2))
    })
