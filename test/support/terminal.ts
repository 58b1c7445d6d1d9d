import { env } from 'node:process'
import type { IPty } from '@lydell/node-pty'
import { giveUpAfterMs } from './patience.ts'
import { inherited } from './programs.ts'
import { waitFor } from './wait-for.ts'

/** A program in a pseudo-terminal, where a person would run it. */
export interface Terminal {
  /** Returns the output of the program so far, without colours. */
  text(): string
  /** Presses Ctrl-C. The terminal then sends SIGINT to all programs in its foreground, including npm. */
  pressCtrlC(): void
  /** Closes the window. The kernel then sends SIGHUP to all programs in the foreground. `ended` does not resolve in this case. */
  close(): void
  /** Sends a signal to the process group of the program. */
  signalGroup(signal: NodeJS.Signals): void
  /** Waits until the output matches the pattern, and returns the match. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  /** Resolves with the exit code, or with the negative number of the signal that ended the program. */
  readonly ended: Promise<number>
}

/** The library for pseudo-terminals, or null if it has no binary for this platform. Tests that need a terminal are then skipped. */
export const pseudoTerminals = await import('@lydell/node-pty').catch(() => null)

const terminals = new Set<IPty>()
/** Opens a terminal in a folder and runs a program in it. The program gets the search path, the folder for compiled code, and these variables. */
export function openTerminal(
  file: string,
  args: string[],
  { cwd, variables = {} }: { cwd: string; variables?: Record<string, string> },
): Terminal {
  if (pseudoTerminals === null) throw new Error('There are no pseudo-terminals on this platform.')
  const pty = pseudoTerminals.spawn(file, args, {
    ...{ cwd, cols: 160, rows: 50 },
    env: { ...inherited, HOME: env.HOME ?? '', TERM: 'xterm-256color', ...variables },
  })
  terminals.add(pty)
  let output = ''
  pty.onData((data) => {
    output += data
  })
  const ended = new Promise<number>((resolve) => {
    pty.onExit(({ exitCode, signal }) => {
      terminals.delete(pty)
      resolve(signal ? -signal : exitCode)
    })
  })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of a terminal begin with this character
  const text = () => output.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r\n', '\n')
  return {
    text,
    pressCtrlC: () => pty.write('\u0003'),
    close: () => (pty as IPty & { destroy(): void }).destroy(),
    signalGroup: (signal) => process.kill(-pty.pid, signal),
    printed: (pattern) => waitFor(() => pattern.exec(text()), { what: `${pattern} on the terminal, which shows:\n${text()}` }),
    ended: Promise.race([
      ended,
      new Promise<never>((_, reject) => {
        setTimeout(() => reject(new Error(`The program has not ended. It printed:\n${text()}`)), 4 * giveUpAfterMs).unref()
      }),
    ]),
  }
}
/** Ends the programs of all terminals that a failed test left open. */
export function closeTerminals(): void {
  for (const pty of terminals) pty.kill('SIGKILL')
}
