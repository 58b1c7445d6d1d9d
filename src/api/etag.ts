import { ApiError } from './errors.ts'

/** The entity tag of a resource is its revision. */
export const etagHeader = (revision: number): Record<string, string> => ({ etag: `"${revision}"` })

export const withoutEtag = ({ etag: _, ...headers }: Readonly<Record<string, string>>): Record<string, string> => headers

const entityTag = /^\s*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*$/

/**
 * Returns the revisions that `If-Match` names (RFC 9110, 13.1.1). Weak tags and tags of another form match no revision, so the
 * precondition then fails. Throws invalid_request when the header is not a list of tags.
 */
export function parseIfMatch(header: string | undefined): '*' | number[] | undefined {
  if (header === undefined) return undefined
  if (header.trim() === '*') return '*'
  return header.split(',').flatMap((part) => {
    const tag = entityTag.exec(part)
    if (tag === null) throw new ApiError('invalid_request', 'If-Match must hold ETags in double quotes, or *.')
    const [, weak, value = ''] = tag
    return weak === undefined && /^\d{1,9}$/.test(value) ? [Number(value)] : []
  })
}
