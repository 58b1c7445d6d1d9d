import { createRequire } from 'node:module'
import { destination, pino, stdTimeFunctions } from 'pino'
import type { PrettyOptions } from 'pino-pretty'

/** Logs one line for each thing that happened. Lines of the same kind have the same message, and their fields differ. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Log
}
/** The fields of a logged line, including its message (`msg`). */
export type LogLine = Readonly<Record<string, unknown>>

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

interface LogOptions {
  /** The output of the lines: 1 (standard output, the default), or 2 for commands that print a result. */
  readonly fd?: 1 | 2
  /** Writes lines for people, and not JSON. */
  readonly isText?: boolean
  /** Returns the text that replaces a line for people, or undefined if the line is formatted as usual. Used only with `isText`. */
  readonly textOf?: (line: LogLine) => string | undefined
}
/** Makes a log of JSON lines or of lines for people. */
export function createLog(level: string, { fd = 1, isText = false, textOf = () => undefined }: LogOptions = {}): Log {
  const output = destination({ fd, sync: true })
  output.on('error', () => {}) // writing to a closed terminal fails (EIO), and must not end the process
  const options = { level, base: null, timestamp: stdTimeFunctions.isoTime, serializers: { error: errorFields } }
  if (!isText) return pino(options, output)
  // The library is loaded only here, because a service without a terminal does not need it.
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty')
  const pretty: PrettyOptions = {
    colorize: process.stdout.isTTY,
    singleLine: true,
    errorLikeObjectKeys: ['error'],
    translateTime: 'SYS:HH:MM:ss.l',
  }
  const format = prettyFactory(pretty)
  return pino(options, {
    write(json: string) {
      output.write(textOf(JSON.parse(json) as LogLine) ?? format(json))
    },
  })
}
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLog }
