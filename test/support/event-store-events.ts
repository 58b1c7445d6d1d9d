import { randomInt, randomUUID } from 'node:crypto'
import { ulid } from 'ulid'
import type { Checkpoint, Metadata, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { attemptsStream, type Family, routingStream, type StreamName, tenantStream, webhookStream } from '../../src/events/streams.ts'
import type { EventStore } from '../../src/ports/event-store.ts'

export const aTenant = (): StreamName => tenantStream(ulid() as TenantId)
export const aWebhook = (): StreamName => webhookStream(ulid() as WebhookId)
export const anAttempts = (time = new Date().toISOString()): StreamName => attemptsStream(ulid() as WebhookId, time)
export const aRouting = (time = new Date().toISOString()): StreamName => routingStream(ulid() as TenantId, time)
export const anId = (): EventId => randomUUID() as EventId

const metadata: Metadata = {
  schema: 1,
  actor: 'system:test',
  tenant: '00000000000000000000000000',
  time: '2026-11-24T08:00:00.000Z',
  $correlationId: 'test',
  $causationId: null,
}
export const anEvent = (over: Partial<NewEvent> = {}): NewEvent => ({
  id: anId(),
  type: 'TenantSettingsChanged', // the type is a known one, because projections quarantine events of unknown types
  data: { number: randomInt(1_000_000) },
  metadata,
  ...over,
})
export const someEvents = (count: number): NewEvent[] => Array.from({ length: count }, () => anEvent())

/** Reads a subscription until `until` returns true. Returns the events of the chosen streams, and the last checkpoint. */
export async function collect(
  store: EventStore,
  options: {
    families: readonly Family[]
    after?: Checkpoint | null
    batch?: number
    streams?: readonly StreamName[]
    until(events: RecordedEvent[], checkpoint: Checkpoint): boolean
    onBatch?(events: readonly RecordedEvent[], checkpoint: Checkpoint): void
  },
): Promise<{ events: RecordedEvent[]; checkpoint: Checkpoint | null }> {
  const { families, after = null, batch, streams, until, onBatch } = options
  const stop = new AbortController()
  const events: RecordedEvent[] = []
  let last = after
  for await (const { events: readEvents, checkpoint } of store.subscribe({
    families,
    after,
    signal: stop.signal,
    ...(batch === undefined ? {} : { batch }),
  })) {
    onBatch?.(readEvents, checkpoint)
    events.push(...(streams === undefined ? readEvents : readEvents.filter((event) => streams.includes(event.stream))))
    last = checkpoint
    if (until(events, checkpoint)) stop.abort()
  }
  return { events, checkpoint: last }
}

/** Returns the error that a promise rejects with. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('expected a rejection')
}
