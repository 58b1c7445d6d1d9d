import type { Log } from '../../src/lib/log.ts'

export interface CapturingLog extends Log {
  /** All lines that were written until now, each as JSON. Errors have all of their properties. */
  readonly lines: readonly string[]
}

/**
 * Returns an error as an object with its causes and all of its properties. The real log shows less, but the tests must find secrets in any property.
 */
function plain(value: unknown): unknown {
  if (!(value instanceof Error)) return value
  return { ...value, name: value.name, message: value.message, stack: value.stack, cause: plain(value.cause) }
}

export function capturingLog(): CapturingLog {
  const lines: string[] = []
  const logWith = (bound: object): Log => {
    const write = (level: string) => (fields: object, message: string) => {
      const all = Object.fromEntries(Object.entries({ ...bound, ...fields }).map(([name, value]) => [name, plain(value)]))
      lines.push(JSON.stringify({ level, ...all, message }, (_, value) => (typeof value === 'bigint' ? String(value) : value)))
    }
    return {
      debug: write('debug'),
      info: write('info'),
      warn: write('warn'),
      error: write('error'),
      child: (fields) => logWith({ ...bound, ...fields }),
    }
  }
  return { ...logWith({}), lines }
}
