import { createHash } from 'node:crypto'
import { KolbakError } from '../../../lib/errors.ts'

/*
 * The text of a backup, which is compressed with gzip. It is a script that psql can also run, because all lines that are not SQL are comments:
 *
 *   --@ header {...}                 facts about the backup
 *   --@ sql <lines>                  the number of lines of SQL that follow
 *   --@ rows <table>                 a COPY statement follows, then its rows, each a line of COPY's text format, then a line `\.`
 *   --@ counted <rows>               the number of those rows
 *   --@ end {"rows":..,"sha256":..}  all rows, and the SHA-256 of everything before this line
 */

/** The number of the format. Raise it when older versions of Kolbak cannot read the new backups. */
export const backupFormat = 1

export interface BackupHeader {
  readonly format: number
  /** The version of Kolbak that made the backup. */
  readonly kolbak: string
  readonly postgres: string
  /** RFC 3339 time of the snapshot. */
  readonly made_at: string
  /** The migrations that the database had run, in order. */
  readonly migrations: readonly string[]
  /** The number of tables whose rows follow. */
  readonly tables: number
}
export type BackupPart =
  | { readonly kind: 'sql'; readonly text: string }
  /** The rows of a table. They must be read to their end before the next part. */
  | { readonly kind: 'rows'; readonly table: string; readonly copy: string; readonly rows: AsyncIterable<Buffer>; count(): number }

export const damaged = (why: string, cause?: unknown): KolbakError =>
  new KolbakError('backup_damaged', `The backup is damaged or incomplete (${why}), and nothing of it was restored.`, { cause })

export const notABackup = (cause?: unknown): KolbakError =>
  new KolbakError('not_a_backup', 'The file is not a backup of Kolbak.', { cause })

const endOfRows = Buffer.from('\n\\.\n')

/** Counts the lines in a part of a text. */
export function linesIn(chunk: Buffer): number {
  let lines = 0
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++
  return lines
}

/**
 * Reads the text of a backup. Throws KolbakError `backup_damaged` when the text has been changed. Some changes are noticed only at its end, where the
 * SHA-256 is compared.
 */
export class BackupReader {
  readonly #chunks: AsyncIterator<Buffer>
  readonly #hash = createHash('sha256')
  #ahead: Buffer = Buffer.alloc(0)
  #rows = 0

  constructor(text: AsyncIterable<Buffer>) {
    this.#chunks = text[Symbol.asyncIterator]()
  }

  async header(): Promise<BackupHeader> {
    const line = await this.#line()
    if (!line.startsWith('--@ header {')) throw notABackup()
    return JSON.parse(line.slice('--@ header '.length)) as BackupHeader
  }

  /** Yields the parts after the header. Returns when the end has been checked. */
  async *parts(): AsyncGenerator<BackupPart, { rows: number; sha256: string }> {
    for (;;) {
      const soFar = this.#hash.copy()
      const line = await this.#line()
      const [, kind, value = ''] = /^--@ (sql|rows|end) (.*)$/.exec(line) ?? []
      if (kind === 'sql') {
        const lines: string[] = []
        for (let i = 0; i < Number(value); i++) lines.push(await this.#line())
        yield { kind, text: lines.join('\n') }
      } else if (kind === 'rows') {
        const copy = await this.#line()
        let count = 0
        const rows = this.#rowsOfTable((lines) => {
          count += lines
        })
        yield { kind, table: value, copy, rows, count: () => count }
        if ((await this.#line()) !== `--@ counted ${count}`) throw damaged(`it does not have all rows of ${value}`)
        this.#rows += count
      } else if (kind === 'end') {
        const sha256 = soFar.digest('hex')
        if (value !== JSON.stringify({ rows: this.#rows, sha256 })) throw damaged('its checksum differs')
        if (this.#ahead.length > 0 || (await this.#more())) throw damaged('something follows its end')
        return { rows: this.#rows, sha256 }
      } else throw damaged('it has an unknown part')
    }
  }

  async *#rowsOfTable(onLines: (lines: number) => void): AsyncGenerator<Buffer> {
    // The rows end at a line `\.`. For a table without rows, this is the first line.
    while (this.#ahead.length < 3 && (await this.#more()));
    if (this.#ahead.subarray(0, 3).equals(endOfRows.subarray(1))) {
      this.#take(3)
      return
    }
    for (;;) {
      const end = this.#ahead.indexOf(endOfRows)
      const size = end >= 0 ? end + 1 : this.#ahead.length - endOfRows.length
      if (size > 0) {
        const rows = this.#take(size)
        onLines(linesIn(rows))
        yield rows
      }
      if (end >= 0) {
        this.#take(3)
        return
      }
      if (!(await this.#more())) throw damaged('it ends too early')
    }
  }

  async #line(): Promise<string> {
    for (let from = 0; ; ) {
      const end = this.#ahead.indexOf(10, from)
      if (end >= 0) return this.#take(end + 1).toString('utf8', 0, end)
      from = this.#ahead.length
      if (from > 64 << 20) throw damaged('a line is too long')
      if (!(await this.#more())) throw damaged('it ends too early')
    }
  }

  #take(size: number): Buffer {
    const takenBytes = this.#ahead.subarray(0, size)
    this.#ahead = this.#ahead.subarray(size)
    this.#hash.update(takenBytes)
    return takenBytes
  }

  async #more(): Promise<boolean> {
    const { value, done } = await this.#chunks.next()
    if (done === true) return false
    this.#ahead = this.#ahead.length === 0 ? value : Buffer.concat([this.#ahead, value])
    return true
  }
}
