import { env } from 'node:process'
import type { IPty } from '@lydell/node-pty'
import { giveUpAfterMs } from './patience.ts'
import { waitFor } from './wait-for.ts'

/** A program that runs in a pseudo-terminal, as a person runs it. */
export interface Terminal {
  /** Everything that the program has printed, without colours. */
  text(): string
  /** Presses Ctrl-C. The terminal sends SIGINT to all programs in its foreground, npm among them. */
  pressCtrlC(): void
  /** Closes the window. The kernel then sends SIGHUP to all programs in the foreground, and `ended` does not resolve. */
  close(): void
  /** Sends a signal to the process group of the program. */
  signalGroup(signal: NodeJS.Signals): void
  /** Waits until the program has printed this, and returns the match. */
  printed(pattern: RegExp): Promise<RegExpExecArray>
  /** Resolves with the exit code, or with the number of the signal that ended the program, below 0. */
  readonly ended: Promise<number>
}

/** The library for pseudo-terminals, or null where it brings no binary for the platform: tests that need a terminal are then skipped. */
export const pseudoTerminals = await import('@lydell/node-pty').catch(() => null)

const terminals = new Set<IPty>()
/** Opens a terminal in a folder and runs a program in it. The program gets the search path, and these variables. */
export function openTerminal(
  file: string,
  args: string[],
  { cwd, variables = {} }: { cwd: string; variables?: Record<string, string> },
): Terminal {
  if (pseudoTerminals === null) throw new Error('There are no pseudo-terminals on this platform.')
  const pty = pseudoTerminals.spawn(file, args, {
    ...{ cwd, cols: 160, rows: 50 },
    env: { PATH: env.PATH ?? '', HOME: env.HOME ?? '', TERM: 'xterm-256color', ...variables },
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
