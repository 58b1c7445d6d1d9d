import { existsSync, readFileSync, truncateSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { createGroupCommit } from '../../../src/lib/group-commit.ts'
import type { Stored } from './stored.ts'

/** The storage of writes. The events of one write are stored together or not at all. */
export interface Disk {
  /** The earlier writes, in order. */
  readonly writes: readonly (readonly Stored[])[]
  /** Resolves once the events survive a crash. Calls resolve in their order. */
  write(events: readonly Stored[]): Promise<void>
  close(): Promise<void>
}

export const noDisk: Disk = { writes: [], async write() {}, async close() {} }

type Line = [string, number, number, string, string, string, number, string, string][]
/** Converts one write to a line of JSON. */
export const toLine = (events: readonly Stored[]): string => {
  const line: Line = events.map((e) => [
    e.stream,
    e.revision,
    e.position,
    e.id,
    e.type,
    e.contentType,
    e.created,
    e.data.toString('base64'),
    e.metadata.toString('base64'),
  ])
  return `${JSON.stringify(line)}\n`
}
export const fromLine = (text: string): Stored[] =>
  (JSON.parse(text) as Line).map(([stream, revision, position, id, type, contentType, created, data, metadata]) => ({
    stream,
    revision,
    position,
    id,
    type,
    contentType,
    created,
    data: Buffer.from(data, 'base64'),
    metadata: Buffer.from(metadata, 'base64'),
  }))

/**
 * Opens one file with a line for each write. Writes are appended and synchronised in groups. A last line that a crash cut off was never
 * confirmed, and is removed.
 */
export async function openDisk(folder: string): Promise<Disk> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, 'events.jsonl')
  let writes: Stored[][] = []
  if (existsSync(path)) {
    const bytes = readFileSync(path)
    const whole = bytes.lastIndexOf(10) + 1
    if (whole < bytes.length) truncateSync(path, whole)
    writes = bytes
      .toString('utf8', 0, whole)
      .split('\n')
      .filter((line) => line !== '')
      .map(fromLine)
  }
  const file = await open(path, 'a')
  const group = createGroupCommit<string, void>({
    async write(lines) {
      await file.appendFile(lines.join(''))
      await file.datasync()
      return lines.map(() => undefined)
    },
    bytesOf: (line) => line.length,
    maxBytes: 16 << 20,
    maxCount: 10_000,
  })
  return {
    writes,
    write: (events) => group.add(toLine(events)),
    async close() {
      await group.idle()
      await file.close()
    },
  }
}
