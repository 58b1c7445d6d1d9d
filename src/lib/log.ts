import { destination, pino, stdTimeFunctions } from 'pino'

/** Logs one JSON line for each thing that happened. Lines of the same kind have the same message, and their fields differ. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Log
}

/**
 * Returns the parts of an error that may be logged: its name, code, message and stack. The detail of a Postgres error is left out, because
 * it quotes rows.
 */
function errorFields(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: errorFields(error.cause) }),
  }
}

/** Makes a log. @param fd where the lines go: 1 (standard output), or 2 for commands that print a result */
export function createLog(level: string, fd: 1 | 2 = 1): Log {
  const output = destination({ fd, sync: true })
  output.on('error', () => {}) // a terminal that was closed takes no more lines (EIO), and the work goes on to its orderly end
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime, serializers: { error: errorFields } }, output)
}
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }
