import { createHash } from 'node:crypto'
import type { RecordedEvent } from '../../events/envelope.ts'
import { openHead } from '../../lib/log-signer.ts'
import { sqlOn } from '../../lib/sql.ts'
import { type AuditQuery, audit, auditedEvents, readLogState } from '../../projections/audit.ts'
import { type KeptHead, listHeads, newestCosignedHead } from '../../projections/log-heads.ts'
import { accessEvents, lastAccessIndex } from '../access-events.ts'
import { createActorNames } from '../actor-names.ts'
import { auditLine, type ShownEvent, shownAccess } from '../audit-line.ts'
import { createAuditStreams, csvRow, guardedTexts } from '../audit-streams.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, invalid, notFound } from '../errors.ts'
import { awaitHead } from '../projection-lag.ts'
import { guardedRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { type AuditFilter, accept, auditColumns, auditLines, auditQuery, logHead } from '../schemas/audit.ts'
import { envelope } from '../schemas/common.ts'
import { pastReadHeaders } from '../schemas/headers.ts'
import { parseTimeRange } from '../time-range.ts'

const ndjson = 'application/x-ndjson'
const csv = 'text/csv; charset=utf-8; header=present'

export function createAuditRoutes(deps: ApiDependencies): Route[] {
  const streams = createAuditStreams()
  return [
    createLogHeadRoute(deps),
    guardedRoute({
      method: 'GET',
      path: '/v1/audit',
      operationId: 'streamAudit',
      summary: 'Stream all changes of this account, oldest first, as one JSON object per line',
      description:
        'Streams every change of the account: who did what, when, and under which request. Each line of the response is one JSON object of the schema `AuditedEvent`. ' +
        'The last line is no event: it says `"end": true` with the number and the SHA-256 of the lines before, or why the stream broke off. A response without such a line is incomplete. ' +
        'The stream ends with the last event that was stored before the request. To go on from there, send `after` of the last line. ' +
        'With the family `access`, it streams who read the audit log or the past, and who was refused, for the retention time; the indexes are then those of that list. ' +
        'A caller can have one stream at a time. With `Accept: text/csv` the lines are rows of a table, whose last row begins with `end` or `error`.',
      tag: 'Audit',
      credentials: 'bearer',
      scope: 'read:audit',
      query: auditQuery,
      requestHeaders: { Accept: accept },
      errors: ['key_destroyed', 'stream_running', 'not_acceptable', 'validation_failed'],
      responses: {
        200: {
          description: 'Each line is one event, except the last.',
          schema: auditLines,
          type: ndjson,
          headers: pastReadHeaders,
        },
      },
      async handler({ query, caller, gone, headers: requestHeaders, stillAllowed }) {
        const { tenant } = caller
        const isCsv = prefersCsv(requestHeaders.accept)
        const range = parseTimeRange(query)
        if (range.since !== undefined && range.until !== undefined && range.since >= range.until)
          throw invalid([{ path: 'until', message: 'must be later than since' }])
        const { after = -1, since: _, until: __, ...filter } = query
        const callerGone = gone()
        const end = streams.begin(caller.actor)
        try {
          const vault = await deps.keyring.vault(tenant)
          const { batches, last, headers } = await openSource(deps, { tenant, after, ...filter, ...range })
          const line = { vault, macs: deps.macs, nameActor: createActorNames(deps, tenant) }
          const format = createFormat(isCsv, Math.max(after, last))
          const texts = textsOf(batches, (event) => auditLine(line, event), format)
          const chunks = guardedTexts({ texts, gone: callerGone, stillAllowed, end, lastOf: format.last })
          return { status: 200, headers, stream: { type: isCsv ? csv : ndjson, chunks, lines: format.lines } }
        } catch (error) {
          end()
          throw error
        }
      },
    }),
  ]
}

type SourceQuery = Omit<AuditQuery, 'end' | 'family'> & Pick<AuditFilter, 'family'>
/** The events of a stream. */
interface Source {
  readonly batches: AsyncIterable<readonly ShownEvent[]>
  /** The last index of the source when the stream began, or -1. */
  readonly last: number
  readonly headers: Readonly<Record<string, string>>
}
/** Opens the audit log up to now or, with the family `access`, the accesses, which are stored for the retention time only. */
async function openSource(deps: ApiDependencies, { family, ...query }: SourceQuery): Promise<Source> {
  if (family !== 'access') {
    const headers = await awaitHead(deps, audit)
    const { size } = await readLogState(deps.pool)
    const filter = { ...query, end: size, ...(family === undefined ? {} : { family }) }
    return { batches: auditedEvents(deps.pool, filter), last: size - 1, headers }
  }
  const range = { ...query, retentionDays: deps.settings.retentionDays, now: deps.now() }
  const last = await lastAccessIndex(deps.store, range)
  return { batches: matchingAccesses(accessEvents(deps.store, range, last), query), last, headers: {} }
}
async function* matchingAccesses(
  batches: AsyncIterable<readonly RecordedEvent[]>,
  { tenant, id = tenant, type, actor, correlation, request }: Omit<SourceQuery, 'family'>,
): AsyncGenerator<ShownEvent[]> {
  for await (const batch of batches)
    yield batch
      .filter(
        ({ type: eventType, metadata }) =>
          id === tenant &&
          (type ?? eventType) === eventType &&
          (actor ?? metadata.actor) === metadata.actor &&
          (correlation ?? metadata.$correlationId) === metadata.$correlationId &&
          (request ?? metadata.request_id) === metadata.request_id,
      )
      .map(shownAccess)
}

const createLogHeadRoute = (deps: ApiDependencies): Route =>
  guardedRoute({
    method: 'GET',
    path: '/v1/log',
    operationId: 'getLogHead',
    summary: 'Read the newest head of the audit log, and the key that verifies it',
    description:
      'Returns the newest signed head: the number of events in the audit log of the whole service and the root of their Merkle tree. Keep heads and the key elsewhere. ' +
      'Proofs of changes and deliveries are checked against them without Kolbak.',
    tag: 'Audit',
    credentials: 'bearer',
    scope: 'read:audit',
    errors: ['not_found'],
    responses: { 200: { description: 'The newest head.', schema: envelope(logHead) } },
    async handler() {
      const sql = sqlOn(deps.pool)
      const [[head], cosigned, key] = await Promise.all([listHeads(sql, 1), newestCosignedHead(sql), deps.logKey()])
      // Some seconds pass from the first start to the first head. A head that the key has not signed is shown to nobody.
      if (head === undefined || openHead(head.note, key) === null) throw notFound({ 'retry-after': '10' })
      const { origin, size, root, signed_at } = head
      const shown = { origin, size, root: root.toString('base64'), note: noteOf(head), key, signed_at }
      const isCosigned = cosigned !== null && openHead(cosigned.note, key) !== null
      return envelopeResult(200, { ...shown, cosigned: isCosigned ? noteOf(cosigned) : null })
    },
  })

/** Returns the signed note of a head, with the signatures of witnesses. */
const noteOf = ({ note, cosignatures = '' }: KeptHead): string => `${note}${cosignatures}`

type Line = Readonly<Record<string, unknown>>

async function* textsOf(
  batches: AsyncIterable<readonly ShownEvent[]>,
  lineOf: (event: ShownEvent) => Promise<Line>,
  format: Format,
): AsyncGenerator<string> {
  if (format.head !== '') yield format.add(format.head, 0, null)
  for await (const batch of batches) {
    const lines = await Promise.all(batch.map(lineOf))
    if (lines.length > 0) yield format.add(lines.map(format.text).join(''), lines.length, Number(batch.at(-1)?.index))
  }
}

interface Format {
  /** The first line, or an empty text. */
  readonly head: string
  text(line: Line): string
  /** Counts lines that are sent, and returns their text. @param after the index of the last one, or null if there is none */
  add(text: string, lines: number, after: number | null): string
  last(error: { code: string; message: string } | null): string
  /** Returns the number of lines that were counted. */
  lines(): number
}

/** @param lastIndex the last index of the log when the stream began, which a complete stream has reached */
function createFormat(isCsv: boolean, lastIndex: number): Format {
  const hash = createHash('sha256')
  let count = 0
  let sentUpTo: number | null = null
  const position = (index: number | null) => (index === null || index < 0 ? {} : { after: index })
  return {
    head: isCsv ? csvRow(auditColumns) : '',
    text: (line) => (isCsv ? csvRow(auditColumns.map((name) => line[name] ?? metadataOf(line)[name])) : `${JSON.stringify(line)}\n`),
    add(text, lines, after) {
      hash.update(text)
      count += lines
      sentUpTo = after ?? sentUpTo
      return text
    },
    lines: () => count,
    last(error) {
      const facts =
        error === null ? { end: true, ...position(lastIndex), lines: count, sha256: hash.digest('hex') } : { error, ...position(sentUpTo) }
      return isCsv ? csvRow([error === null ? 'end' : 'error', JSON.stringify(facts)]) : `${JSON.stringify(facts)}\n`
    },
  }
}
const metadataOf = (line: Line): Line => ({ ...(line.metadata as Line) })

/** Returns whether the caller asks for CSV. Throws not_acceptable for types that the route does not have. */
function prefersCsv(accepted = '*/*'): boolean {
  for (const range of accepted.split(',').map((part) => part.split(';')[0]!.trim().toLowerCase())) {
    if (range === 'text/csv' || range === 'text/*') return true
    // Many clients name JSON whatever they ask for, and each line is JSON.
    if (['*/*', 'application/*', ndjson, 'application/json'].includes(range)) return false
  }
  throw new ApiError('not_acceptable', `The audit log is sent as ${ndjson} or text/csv.`)
}
