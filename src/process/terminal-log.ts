import { type Config, describeConfig, variables } from '../config/config.ts'
import type { LogLine } from '../lib/log.ts'

/** Returns whether the log is for people, because it is configured so or the output is a terminal. */
export const isLogText = ({ KOLBAK_LOG_FORMAT: format }: Config): boolean =>
  format === 'text' || (format === 'auto' && process.stdout.isTTY === true)

/** Returns the configuration without the variables that have their initial value. */
export function describeChanges(config: Config): Record<string, unknown> {
  const initial: Record<string, unknown> = variables
  return Object.fromEntries(
    Object.entries(describeConfig(config)).filter(
      ([name, value]) => value !== undefined && JSON.stringify(config[name as keyof Config]) !== JSON.stringify(initialOf(initial[name])),
    ),
  )
}
const initialOf = (variable: unknown): unknown =>
  typeof variable === 'object' && variable !== null && 'initial' in variable ? variable.initial : undefined

/** Lines about internals of the service. They are hidden, because they would move the instructions off the screen. */
const innerLines = new Set([
  'routing.open',
  'bus.partition_taken',
  'bus.partition_left',
  'partition.taken',
  'partition.left',
  'part.stopping',
])

/** Returns a function that replaces some lines of the log by sentences. For other lines it returns undefined. */
export const createTerminalText =
  (config: Config) =>
  (line: LogLine): string | undefined => {
    const { msg, worker } = line
    if (typeof msg !== 'string') return undefined
    if (innerLines.has(msg)) return ''
    if (msg === 'http.request') return requestText(line)
    if (msg === 'delivery.attempted') return attemptText(line)
    if (worker !== undefined) return undefined
    switch (msg) {
      case 'postgres.initialising':
        return '\n  Kolbak makes its Postgres, because this is the first start with this data folder. That takes about 5 s.\n'
      case 'kolbak.ready':
        return readyText(line, config)
      case 'kolbak.draining':
        return '\n  Kolbak finishes the requests in flight, and then stops. Press Ctrl-C again to end it at once.\n\n'
      case 'kolbak.stopped':
        return '\n  Kolbak has stopped.\n'
      default:
        return undefined
    }
  }

/** Returns the text that says how to reach the service and what to do next. */
function readyText({ url, dashboard, adminClientId, adminClientFile }: LogLine, config: Config): string {
  const secret =
    typeof adminClientFile === 'string'
      ? `its secret is in ${adminClientFile}`
      : config.KOLBAK_ADMIN_CLIENT_ID === undefined
        ? 'its secret is in the data folder of the first start'
        : 'its secret is the configured one'
  const reachesItself = config.KOLBAK_ALLOWED_SUBNETS.some(([address]) => address.range() === 'loopback')
  return `
  Kolbak is ready on ${url}

${dashboard === undefined ? '' : `    Dashboard           ${dashboard}\n                        (this link signs you in once, within ten minutes)\n`}    API documentation   ${url}/docs/
    Admin client        ${adminClientId}; ${secret}
    Receive events      npm run -s kolbak -- listen${reachesItself ? '' : '   (needs a start with: npm run dev)'}
    Post an event       npm run -s kolbak -- send order.created '{"order": 7}'
    Stop                Ctrl-C

`
}

const timeOf = ({ time }: LogLine): string => `[${new Date(String(time)).toLocaleTimeString('sv')}]`
const requestText = (line: LogLine): string =>
  `${timeOf(line)} request: ${line.operation} → ${line.status}${line.code === undefined ? '' : ` ${line.code}`} in ${line.ms} ms\n`

function attemptText(line: LogLine): string {
  const { message, origin, attempt, code, reason, duration_ms, delay_seconds } = line
  const next = typeof delay_seconds === 'number' ? `, the next attempt is in ${Math.ceil(delay_seconds)} s` : ''
  return `${timeOf(line)} delivery: ${message} to ${origin}, attempt ${attempt} → ${code ?? reason} in ${duration_ms} ms${next}\n`
}
