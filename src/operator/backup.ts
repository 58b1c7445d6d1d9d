import { createReadStream } from 'node:fs'
import { access, open, rename, rm, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { codeOf, KolbakError, lineOf } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { restoreBackup, writeBackup } from '../service/backups.ts'
import { openEngine } from '../service/engines/open.ts'
import { chooseEngines, otherEngines } from '../service/engines/table.ts'
import { openRecorder, workOffline } from './offline.ts'
import { recordDone } from './recorded-act.ts'

/** Shows the progress of a command on a terminal. If the output is not a terminal, it gets a line every 10 s. */
interface Progress {
  show(text: string): void
  /** Removes the text from the terminal. */
  end(): void
}

/** The name of standard output for `backup`, and of standard input for `restore`. */
const standardStream = '-'

/** Writes a backup to a new file, which appears only when it is complete. Returns facts about the backup. */
export async function backup(config: Config, log: Log, file: string, say: (sentence: string) => void): Promise<object> {
  const progress = createProgress(log)
  const isStream = file === standardStream
  const partial = `${file}.partial`
  if (!isStream && (await exists(file)))
    throw new KolbakError('file_exists', `${file} exists already, and a backup overwrites nothing: name a new file.`)
  try {
    // Sealed values in a backup are unreadable without the master key, but other data, such as times and ids, are not sealed. So only the owner of
    // the file may read it.
    const output = isStream ? process.stdout : (await open(partial, 'w', 0o600)).createWriteStream({ flush: true })
    const { header, rows, sha256, skipped } = await writeBackup(config, log, output, ({ table, tablesDone, tables, rows }) =>
      progress.show(`table ${tablesDone + 1} of ${tables}, ${rows.toLocaleString('en')} rows (${table})`),
    )
    if (!isStream) await rename(partial, file)
    progress.end()
    if (skipped.length > 0) say(`These objects are not of Kolbak, and are not in the backup: ${skipped.join(', ')}.`)
    say(keysSentence(config))
    const engines = otherEngines(config)
    if (engines.length > 0) say(`The data of ${engines.join(' and ')} are not in the backup: see docs/operations.md.`)
    return { file, ...(isStream ? {} : { bytes: (await stat(file)).size }), rows, ...header, sha256 }
  } catch (error) {
    if (!isStream) await rm(partial, { force: true })
    throw fileError(error, file)
  } finally {
    progress.end()
  }
}

/** Restores a backup into an empty database. Returns facts about the backup. */
export async function restore(config: Config, log: Log, file: string, say: (sentence: string) => void): Promise<object> {
  const progress = createProgress(log)
  try {
    const input = file === standardStream ? process.stdin : createReadStream(file)
    const { header, rows, sha256 } = await restoreBackup(config, log, input, ({ part, tablesDone, tables }) =>
      progress.show(`table ${Math.min(tablesDone + 1, tables)} of ${tables} (${part})`),
    )
    progress.end()
    const keys = join(resolve(config.KOLBAK_DATA_DIR), 'keys.json')
    if (config.DATABASE_URL === undefined && !(await exists(keys)))
      say(`The backup has no keys. Before you start Kolbak, put the keys.json of the service that was backed up at ${keys}.`)
    else say('Start Kolbak with the same keys as the service that was backed up.')
    await recordRestore(config, log, { file: basename(file), made_at: header.made_at }).catch((error: unknown) =>
      say(`The restore is not in the audit log: ${lineOf(error) ?? String(error)}`),
    )
    return { file, rows, ...header, sha256 }
  } catch (error) {
    throw fileError(error, file)
  } finally {
    progress.end()
  }
}

/**
 * Appends the restore to the audit log, which is in the restored database or in EventStoreDB. It needs the master key, which may be put in its place
 * only later. The restore is then not recorded.
 */
const recordRestore = (config: Config, log: Log, facts: Readonly<Record<string, string>>): Promise<void> =>
  workOffline(config, log, async (deps, pool) => {
    const { adapter: store } = await openEngine('event_store', chooseEngines(config).event_store, deps)
    await recordDone(await openRecorder(deps, pool, store), { command: 'operate restore', arguments: facts })
  })

const keysSentence = ({ DATABASE_URL, KOLBAK_DATA_DIR }: Config): string =>
  DATABASE_URL === undefined
    ? `The backup has no keys, and without the master key it is worthless: keep a copy of ${join(resolve(KOLBAK_DATA_DIR), 'keys.json')} in another place.`
    : 'The backup has no keys, and without the master key it is worthless: keep KOLBAK_MASTER_KEY and KOLBAK_JWT_SECRET in another place.'

function createProgress(log: Log): Progress {
  const { stderr } = process
  const everyMs = stderr.isTTY ? 200 : 10_000
  let shownAt = stderr.isTTY ? 0 : performance.now()
  let isShown = false
  return {
    show(text) {
      if (performance.now() - shownAt < everyMs) return
      shownAt = performance.now()
      if (!stderr.isTTY) return log.info({ progress: text }, 'operate.progress')
      isShown = true
      stderr.write(`\r\x1b[2K${text.slice(0, stderr.columns - 1)}`)
    },
    end() {
      if (isShown) stderr.write('\r\x1b[2K')
      isShown = false
    },
  }
}

/** Returns an error that names the file, for errors that an operator can correct. Returns any other error unchanged. */
function fileError(error: unknown, file: string): unknown {
  const why = { ENOENT: 'does not exist', EACCES: 'may not be opened', EISDIR: 'is a folder', ENOSPC: 'does not fit on the disk' }[
    (error as NodeJS.ErrnoException).syscall === undefined ? '' : (codeOf(error) ?? '')
  ]
  return why === undefined ? error : new KolbakError('file_unusable', `${file} ${why}.`, { cause: error })
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
