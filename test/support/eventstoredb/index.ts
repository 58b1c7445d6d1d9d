import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { createInterface } from 'node:readline'
import type { FaultSettings, Method } from './faults.ts'

export interface EventStoreDbProcess {
  /** Stays the same over restarts. */
  readonly url: string
  /** Ends it in good order, and removes the data when it made the folder. */
  stop(): Promise<void>
  /** `kill -9`; the data stay. */
  kill(): Promise<void>
  /** Starts it again on the same port with the same data; ends it before if it runs. */
  restart(): Promise<void>
  /** Cuts all connections. */
  drop(): Promise<void>
  /** Sets what it does wrong from now on. */
  fail(settings: Partial<FaultSettings>): Promise<void>
  /** How many calls of each method have begun since it started. */
  calls(): Promise<Record<Method, number>>
}

/** Starts EventStoreDB's double as a process of its own. @param dataDir kept when given, else a folder of its own */
export async function startEventStoreDb(dataDir?: string): Promise<EventStoreDbProcess> {
  const data = dataDir ?? (await mkdtemp(join(tmpdir(), 'kolbak-eventstoredb-')))
  let child: ChildProcess | undefined
  let port = 0
  let control = 0

  const start = async () => {
    const main = join(import.meta.dirname, 'main.ts')
    child = spawn(execPath, [main, '--data', data, '--port', String(port)], { stdio: ['pipe', 'pipe', 'inherit'] })
    const line = await Promise.race([
      once(createInterface(child.stdout!), 'line').then(([text]) => text as string),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`the double of EventStoreDB ended with ${code} before it answered`))),
    ])
    ;({ port, control } = JSON.parse(line) as { port: number; control: number })
  }
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
  const command = async (path: string, body?: object) => {
    const response = await fetch(`http://127.0.0.1:${control}${path}`, { method: 'POST', ...(body && { body: JSON.stringify(body) }) })
    if (!response.ok) throw new Error(`the double of EventStoreDB answered ${response.status} to ${path}`)
    return (await response.json()) as { calls: Record<Method, number> }
  }

  await start()
  return {
    url: `esdb://127.0.0.1:${port}?tls=false`,
    async stop() {
      await end('SIGTERM')
      if (dataDir === undefined) await rm(data, { recursive: true, force: true })
    },
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGTERM')
      await start()
    },
    async drop() {
      await command('/drop')
    },
    async fail(settings) {
      await command('/faults', settings)
    },
    calls: async () => (await command('/calls')).calls,
  }
}
