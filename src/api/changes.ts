import { randomUUID } from 'node:crypto'
import { type CommandContext, type Decider, type Handled, handle } from '../commands/handler.ts'
import type { DecidedEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import type { StreamName } from '../events/streams.ts'
import type { Projection } from '../projections/projection.ts'
import { type ApiDependencies, defaultWaits } from './dependencies.ts'
import { ApiError } from './errors.ts'
import type { Identity, RawRequest } from './route.ts'

type Asked = Identity & Pick<RawRequest, 'requestId' | 'headers'>

/** Carries out commands for requests: who asks, `If-Match`, and the wait for the read model are the same for all of them. */
export interface Changes {
  /**
   * Throws what the command handler throws. The headers hold the new `ETag`, and `Projection-Lag` (the read model's name)
   * when the change stands but that read model did not have it in time.
   */
  change<State, Command, Event extends DecidedEvent>(
    decider: Decider<State, Command, Event>,
    stream: StreamName,
    command: Command,
    asked: Asked,
    options: { readModel: string; create?: boolean; turnId?: EventId },
  ): Promise<Handled<State> & { headers: Record<string, string> }>
}

/** To be chosen by `plan`, so that a change that is asked for again is the same one. */
export const newTurnId = (): EventId => randomUUID() as EventId

export const etag = (revision: number): Record<string, string> => ({ etag: `"${revision}"` })

const entityTag = /^\s*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*$/

/**
 * The revisions that `If-Match` (RFC 9110, 13.1.1) names. Weak tags and tags that are not ours match nothing, so that
 * they fail the precondition. Throws invalid_request for what is no list of tags.
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

export function changes(deps: Pick<ApiDependencies, 'streams' | 'waiter' | 'now' | 'settings'>): Changes {
  const { streams, waiter, now, settings } = deps
  return {
    async change(decider, stream, command, { caller, requestId, headers }, { readModel, create = false, turnId }) {
      const ifMatch = parseIfMatch(headers['if-match'])
      const context: CommandContext = {
        caller,
        correlation_id: requestId,
        now: new Date(now()).toISOString(),
        ...(turnId === undefined ? {} : { turnId }),
        ...(create ? { create } : ifMatch === undefined ? {} : { ifMatch }),
      }
      const handled = await handle(streams, decider, stream, command, context)
      return { ...handled, headers: { ...etag(handled.revision), ...(await lagHeader(waiter, settings, readModel, handled, stream)) } }
    },
  }
}

/** Waits for a read model, in bounds; `Projection-Lag` says when that was not enough. */
export async function lagHeader(
  waiter: ApiDependencies['waiter'],
  settings: ApiDependencies['settings'],
  readModel: string,
  { position, changed }: Pick<Handled<unknown>, 'position' | 'changed'>,
  stream: StreamName,
): Promise<Record<string, string>> {
  if (!changed || position === null) return {}
  const there = await waiter.waitFor(readModel, position, settings.projectionWaitMs ?? defaultWaits.projectionWaitMs, stream)
  return there ? {} : { 'projection-lag': readModel }
}

/**
 * For reads that are to hold all that was stored before them: waits, in bounds, until a projection has it; else the headers
 * say that it is behind.
 */
export async function caughtUp(
  { store, waiter, settings }: Pick<ApiDependencies, 'store' | 'waiter' | 'settings'>,
  { name, families }: Pick<Projection, 'name' | 'families'>,
): Promise<Record<string, string>> {
  const head = await store.head(families)
  if (head === null) return {}
  const there = await waiter.waitFor(name, head, settings.projectionWaitMs ?? defaultWaits.projectionWaitMs)
  return there ? {} : { 'projection-lag': name }
}
