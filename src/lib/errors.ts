/** Exit code of a process that cannot start as configured (EX_CONFIG). */
export const cannotStart = 78

/** An error of the domain: a stable code, and a sentence that says what to do. The API's table maps codes to statuses. */
export class KolbakError extends Error {
  readonly code: string
  readonly details: readonly { path: string; message: string }[] | undefined
  constructor(code: string, message: string, options: { cause?: unknown; details?: readonly { path: string; message: string }[] } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.details = options.details
  }
}
/** Ends a text of another program with one full stop, so that it can end a sentence. */
export const withFullStop = (text: string): string => `${text.trimEnd().replace(/\.+$/, '')}.`

/**
 * Returns one line for an error that an operator can correct. The line has the error's sentence and code. If another program gave a reason that the
 * sentence lacks, the line has that reason too. Returns undefined for an error without a code, which is a fault of the code and needs its stack.
 */
export function lineOf(error: unknown): string | undefined {
  const code = codeOf(error)
  if (code === undefined || !(error instanceof Error)) return undefined
  const reason = error.cause instanceof Error ? (error.cause.message.trim().split('\n')[0] ?? '') : ''
  const facts = reason === '' || error.message.includes(reason.replace(/\.$/, '')) ? code : `${code}: ${reason}`
  return `${withFullStop(error.message)} (${facts})`
}

export const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** Returns the exit code of a process that this error ends before its work has begun. */
export function exitCodeOf(error: unknown): number {
  const code = codeOf(error)
  return code !== undefined && /^[a-z_]+$/.test(code) && !/unavailable$/.test(code) ? cannotStart : 1
}

/** Returns whether the error is a fault of the code and not of an engine, so that the same input fails again. */
export const isProgrammingError = (error: unknown): boolean =>
  error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError
/** Returns code and message for logs and tables, at most 500 characters. The `detail` of pg is left out, because it quotes rows. */
export function describeError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return `${codeOf(error) ?? 'error'}: ${message}`.replaceAll('\u0000', '').slice(0, 500)
}
