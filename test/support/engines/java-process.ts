import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import process from 'node:process'

/** A server on Java that a test starts, freezes, kills and starts again on the same data. */
export interface JavaProcess {
  /** Starts the process. The caller waits until the server responds. */
  start(): void
  isRunning(): boolean
  /** Returns the last part of what the process has printed. */
  output(): string
  /** Stops all threads (SIGSTOP). Its connections stay open, and it never responds. */
  freeze(): void
  /** Ends the effect of `freeze`. */
  thaw(): void
  /** Ends the process, even if it is frozen. */
  end(signal: NodeJS.Signals): Promise<void>
}

const outputKept = 8_192

/** @param argumentsOf returns the arguments of `java` for each start */
export function createJavaProcess(argumentsOf: () => readonly string[], cwd: string): JavaProcess {
  let child: ChildProcess | null = null
  let output = ''
  const killAtExit = () => child?.kill('SIGKILL')
  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null
  return {
    start() {
      const started = spawn('java', argumentsOf(), { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
      child = started
      process.once('exit', killAtExit)
      for (const stream of [started.stdout, started.stderr])
        stream.on('data', (chunk: Buffer) => {
          output = (output + chunk).slice(-outputKept)
        })
    },
    isRunning,
    output: () => output,
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async end(signal) {
      process.removeListener('exit', killAtExit)
      if (child === null || !isRunning()) return
      const exited = once(child, 'exit')
      child.kill(signal)
      child.kill('SIGCONT') // a frozen process could not end
      await exited
    },
  }
}
