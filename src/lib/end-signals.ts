import { constants } from 'node:os'

/** The signals that ask a process to end: Ctrl-C, the stop of a service manager, and the closing of the terminal. */
const endSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/**
 * A signal that comes within this many milliseconds after the first one counts as the same request to end. A terminal sends Ctrl-C to npm and to this
 * process, and npm passes it on.
 */
const sameRequestMs = 1_000

/**
 * Calls `onEnd` when the process is asked to end, and `onAgain` when it is asked once more. Returns a function that takes the handlers away.
 */
export function onEndSignal(onEnd: (signal: NodeJS.Signals) => void, onAgain: (signal: NodeJS.Signals) => void): () => void {
  let firstAt: number | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstAt === undefined) {
      firstAt = performance.now()
      onEnd(signal)
    } else if (performance.now() - firstAt > sameRequestMs) onAgain(signal)
  }
  for (const signal of endSignals) process.on(signal, onSignal)
  return () => {
    for (const signal of endSignals) process.off(signal, onSignal)
  }
}

/**
 * Makes the process exit when it is asked to end, so that its handlers of the event `exit` run. Otherwise a signal would end the process without
 * them.
 */
export function exitAtEndSignal(): void {
  const exit = (signal: NodeJS.Signals) => process.exit(128 + constants.signals[signal])
  onEndSignal(exit, exit)
}
