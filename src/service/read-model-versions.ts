import type { Pool } from 'pg'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import type { Notices } from '../lib/notices.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { sqlOn } from '../lib/sql.ts'
import { createWake, untilPoll } from '../lib/wake.ts'
import type { Projection } from '../projections/projection.ts'
import { type Patience, whenAvailable } from './patience.ts'

type Versioned = Pick<Projection, 'name' | 'version' | 'tables'>

/**
 * Returns whether this code reads columns of the projection's own tables. The tables of the delivery history belong to the migrations, so every version can
 * read every build of it.
 */
const isReadModel = ({ tables }: Versioned): boolean => tables !== undefined

/**
 * Returns the read models whose live build is of an older version than this code. The columns of another version may be missing or mean
 * something else, so this code must not read them. Throws KolbakError `database_of_newer_version` if a live build is of a newer version.
 */
async function olderReadModels(pool: Pool, projections: readonly Versioned[]): Promise<string[]> {
  const live = await sqlOn(pool)<{ name: string; version: number }>`select name, version from projections where is_live`
  const versions = new Map(live.map(({ name, version }) => [name, version]))
  const newer = projections.find(({ name, version }) => (versions.get(name) ?? 0) > version)
  if (newer !== undefined)
    throw new KolbakError(
      'database_of_newer_version',
      `A newer version of Kolbak has taken over the projection ${newer.name} (version ${versions.get(newer.name)}, and this one has version ${newer.version}): ` +
        'start that version or a later one, or restore the database from a backup of before the upgrade.',
    )
  return projections
    .filter(isReadModel)
    .filter(({ name, version }) => (versions.get(name) ?? 0) < version)
    .map(({ name }) => name)
}

/**
 * Waits until every read model is built in the version of this code. A process with the role `projector` builds them. Meanwhile this process serves
 * no requests, and processes of the former version continue. Throws KolbakError `database_of_newer_version`, or the signal's reason.
 */
export async function whenBuilt(pool: Pool, projections: readonly Versioned[], patience: Patience): Promise<void> {
  const { log, signal } = patience
  let isWaiting = false
  for (;;) {
    const older = await whenAvailable('postgres', () => olderReadModels(pool, projections), patience)
    signal.throwIfAborted()
    if (older.length === 0) break
    if (!isWaiting) log.info({ projections: older }, 'projections.building')
    isWaiting = true
    await pause(100, signal)
  }
  if (isWaiting) log.info({}, 'projections.built')
}

/**
 * Calls `onSuperseded` once when newer code has built a read model, because this code cannot read it. A newer process manager does not end this
 * process, because this process reads no tables of a process manager. Returns a function that stops the watch.
 */
export function watchVersions(options: {
  pool: Pool
  projections: readonly Versioned[]
  notices: Notices
  log: Log
  onSuperseded(error: KolbakError): void
}): () => Promise<void> {
  const { pool, projections, notices, log, onSuperseded } = options
  const readModels = projections.filter(isReadModel)
  const stopping = new AbortController()
  const wake = createWake()
  const stopListening = notices.on('builds', wake.notify)
  const watching = keepRunning(
    async () => {
      await wake.wait(untilPoll(Math.max(1_000, notices.pollMs)), stopping.signal)
      try {
        await olderReadModels(pool, readModels)
      } catch (error) {
        if (!(error instanceof KolbakError)) throw error
        stopping.abort()
        onSuperseded(error)
      }
    },
    { signal: stopping.signal, onError: (error) => log.debug({ error }, 'projections.versions_not_read') },
  )
  return async () => {
    stopping.abort()
    stopListening()
    await watching
  }
}
