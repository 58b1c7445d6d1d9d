/** An event of the log. */
export interface Stored {
  readonly stream: string
  readonly revision: number
  /** The place of the event in $all. Places increase and have gaps. Commit and prepare position are the same number. */
  readonly position: number
  readonly id: string
  readonly type: string
  readonly contentType: string
  readonly data: Buffer
  readonly metadata: Buffer
  /** Time in milliseconds since the epoch. */
  readonly created: number
}
export type Proposed = Pick<Stored, 'id' | 'type' | 'contentType' | 'data' | 'metadata'>

export type Expected = 'any' | 'no_stream' | 'stream_exists' | number

/** The revision of the event that ends a tombstoned stream: the greatest number of int64. */
export const tombstoneRevision = 2 ** 63
export const revisionText = (revision: number): string => (revision === tombstoneRevision ? '9223372036854775807' : String(revision))

/** The settings in a stream's metadata. The last metadata event replaces all earlier ones. */
export interface StreamSettings {
  readonly $maxAge?: number
  readonly $maxCount?: number
  readonly $tb?: number
}
/** The `$tb` of a soft delete. It is the greatest number of int64, which JSON.parse rounds up. */
export const softDeleted = '{"$tb":9223372036854775807}'
export const isSoftDelete = (settings: StreamSettings): boolean => settings.$tb !== undefined && settings.$tb > 9e18

export const metaStreamOf = (stream: string): string => `$$${stream}`
/** Returns the stream whose metadata a `$$` stream contains, or null. */
export const streamOfMeta = (stream: string): string | null => (stream.startsWith('$$') ? stream.slice(2) : null)
