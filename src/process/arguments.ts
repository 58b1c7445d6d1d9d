import { variables } from '../config/config.ts'

/** The exit code of a program that was called with wrong arguments. */
const wrongUsage = 2

/**
 * Ends the process if it was called with arguments, because the service is configured by variables of the environment alone. `--help` prints
 * these variables. Any other argument is an error.
 */
export function refuseArguments(args: readonly string[]): void {
  const [argument] = args
  if (argument === undefined) return
  if (args.some((word) => word === '--help' || word === '-h')) {
    console.log(helpText())
    process.exit(0)
  }
  console.error(
    `kolbak: The service takes no arguments, and got ${JSON.stringify(argument)}: set variables of the environment instead (--help lists them).`,
  )
  process.exit(wrongUsage)
}

function helpText(): string {
  const entries = Object.entries(variables).map(([name, variable]) => {
    const initial = 'initialDoc' in variable ? variable.initialDoc : variable.initial === undefined ? '' : String(variable.initial)
    const text = variable.doc.replaceAll('`', '')
    return `  ${name}${initial === '' ? '' : `=${initial}`}\n      ${text}`
  })
  return [
    'Usage: npm start      the service',
    '       npm run dev    the same for a developer: it also delivers to receivers on this machine',
    '',
    'Kolbak is a webhook service: it accepts events over HTTP, and delivers each one, signed, to every webhook that subscribed to it.',
    'It has no options. It reads these variables of the environment, shown with their defaults:',
    '',
    ...entries,
    '',
    'To control a running service: npm run -s kolbak -- --help',
  ].join('\n')
}
