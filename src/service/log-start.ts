import { ulid } from 'ulid'
import { defaultTenant, type EventId } from '../events/ids.ts'
import { logStream } from '../events/log.ts'
import { step } from '../events/steps.ts'
import { uuidV5 } from '../events/uuid.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { whenAvailable } from './patience.ts'
import type { Shared } from './shared.ts'

const startedId = uuidV5('log', 'started') as EventId
/** Milliseconds between two checks whether the log has started or can start. */
const lookMs = 2_000

/**
 * Starts the audit log: appends LogStarted. From this event on, every command event must have a MAC. This waits in the background until no process of
 * version 0.2 lives, because such a process writes no MACs. A log that has started stays as it is.
 */
export async function startLog(shared: Shared): Promise<void> {
  const { macs, parts, patience, log } = shared
  await whenAvailable('event store', () => tryToStart(shared), patience)
  if (macs.start !== null) return
  log.info({}, 'log.waiting_for_older_processes')
  const stopping = new AbortController()
  const waiting = keepRunning(
    async () => {
      await pause(lookMs, stopping.signal)
      if (!stopping.signal.aborted) await tryToStart(shared)
      if (macs.start !== null) stopping.abort()
    },
    { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.start_failed') },
  )
  parts.add('log start', async () => {
    stopping.abort()
    await waiting
  })
}

async function tryToStart({ macs, live, streams, keyring, log }: Shared): Promise<void> {
  await macs.refresh()
  if (macs.start !== null || !(await live.allWriteMacs())) return
  const { origin, vkey } = await openLogSigner(keyring)
  const decided = { id: startedId, type: 'LogStarted', data: { origin, vkey } }
  const author = {
    actor: 'system:log',
    tenant: defaultTenant,
    time: new Date().toISOString(),
    $correlationId: ulid(),
    $causationId: null,
  } as const
  // Two processes may append LogStarted at the same time. They use the same id, so both get the position of the first append.
  const noPast = { events: [], revision: -1, position: null, hash: null }
  const { position } = await step('log.start', () => streams.append(logStream, [decided], 'none', noPast, author))
  await step('log.start_position', () => macs.setStart(position))
  log.info({ origin, vkey }, 'log.started')
}
