/** An event as it stands in the log. */
export interface Stored {
  readonly stream: string
  readonly revision: number
  /** Its place in $all: strictly increasing, not contiguous. Commit and prepare position are one. */
  readonly position: number
  readonly id: string
  readonly type: string
  readonly contentType: string
  readonly data: Buffer
  readonly metadata: Buffer
  /** Milliseconds since the epoch. */
  readonly created: number
}
export type Proposed = Pick<Stored, 'id' | 'type' | 'contentType' | 'data' | 'metadata'>

export type Expected = 'any' | 'no_stream' | 'stream_exists' | number

/** The revision of the event that ends a tombstoned stream: the greatest of int64, written so wherever it is sent. */
export const tombstoneRevision = 2 ** 63
export const revisionText = (revision: number): string => (revision === tombstoneRevision ? '9223372036854775807' : String(revision))

/** What the settings in a stream's metadata say; the last metadata event replaces all before it. */
export interface StreamSettings {
  readonly $maxAge?: number
  readonly $maxCount?: number
  readonly $tb?: number
}
/** The `$tb` of a soft delete: the greatest of int64, which JSON.parse rounds up. */
export const softDeleted = '{"$tb":9223372036854775807}'
export const isSoftDelete = (settings: StreamSettings): boolean => settings.$tb !== undefined && settings.$tb > 9e18

export const metaStreamOf = (stream: string): string => `$$${stream}`
/** The stream whose metadata a `$$` stream holds, or null. */
export const streamOfMeta = (stream: string): string | null => (stream.startsWith('$$') ? stream.slice(2) : null)
