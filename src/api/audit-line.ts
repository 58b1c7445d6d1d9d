import { originAad } from '../commands/command-streams.ts'
import type { Actor, Metadata, NewEvent, RecordedEvent } from '../events/envelope.ts'
import { leafHash, storedEntry } from '../events/leaf.ts'
import { EventNotReadable, upcast } from '../events/schema.ts'
import { openEvent } from '../events/sealed-fields.ts'
import { secretFields } from '../events/secret-fields.ts'
import type { EventMacs } from '../lib/event-macs.ts'
import { isObject } from '../lib/is-object.ts'
import type { Vault } from '../lib/seal.ts'
import type { AuditedEvent } from '../projections/audit.ts'
import { accessIndexOf } from './access-events.ts'
import type * as shown from './responses.ts'

/** An event of the audit log, or an access event in the same form. */
export type ShownEvent = Omit<AuditedEvent, 'family'> & { readonly family: AuditedEvent['family'] | 'access' }
/** Returns an access event in the form of an event of the audit log. It has no leaf there. */
export function shownAccess(event: RecordedEvent): ShownEvent {
  const texts = { ...event, data: JSON.stringify(event.data), metadata: JSON.stringify(event.metadata) }
  return { ...texts, index: BigInt(accessIndexOf(event)), family: 'access', leaf: leafHash(storedEntry(texts)) }
}

interface LineDependencies {
  readonly vault: Vault
  readonly macs?: Pick<EventMacs, 'faultOf'> | undefined
  nameActor(actor: Actor, time: string): Promise<shown.NamedActor>
}

/**
 * Returns an event as a line for auditors. Sealed fields are opened, and secret fields are masked. If the event is not what Kolbak has written, the
 * line has `fault`: `forged` (without a MAC), `altered` (its MAC or its leaf does not fit) or `not_readable` (of a newer version).
 */
export async function auditLine({ vault, macs, nameActor }: LineDependencies, event: ShownEvent): Promise<shown.AuditedEvent> {
  const { stream, revision, id, type, family, position } = event
  const parsed = { data: objectIn(event.data), metadata: objectIn(event.metadata) }
  const metadata = parsed.metadata as unknown as Metadata
  const recorded = { stream, revision, id, type, data: parsed.data, metadata, position }
  // The leaf is computed from the stored texts, so that a change of the row is seen too.
  const isLeaf = leafHash(storedEntry(event)).equals(event.leaf)
  const fault = isLeaf ? (macs?.faultOf(recorded) ?? null) : 'altered'
  const { data, isReadable } = shownData(vault, recorded)
  const actor = String(metadata.actor) as Actor
  return {
    index: Number(event.index),
    event_id: id,
    time: metadata.time ?? null,
    family,
    id: family === 'access' ? metadata.tenant : stream.slice(family.length + 1),
    revision,
    type,
    actor: fault === null ? await nameActor(actor, String(metadata.time)) : { ...splitActor(actor), name: null },
    correlation_id: metadata.$correlationId ?? null,
    data,
    metadata: shownMetadata(vault, recorded),
    ...(fault !== null ? { fault } : isReadable ? {} : { fault: 'not_readable' }),
  }
}

const objectIn = (json: string): Record<string, unknown> => {
  const value: unknown = JSON.parse(json)
  return isObject(value) ? { ...value } : {}
}
const splitActor = (actor: string) => {
  const separator = actor.indexOf(':')
  return { kind: actor.slice(0, Math.max(0, separator)), id: actor.slice(separator + 1) }
}

/** Returns the data of an event with opened values. An event that cannot be read or opened is shown as it is stored. */
function shownData(vault: Vault, event: NewEvent & Pick<AuditedEvent, 'stream'>): { data: object; isReadable: boolean } {
  const masked: Record<string, string> = {}
  const mask = (data: object) => {
    const shown: Record<string, unknown> = { ...data }
    for (const field of secretFields)
      if (field in shown) {
        masked[field] = '[sealed]'
        delete shown[field]
      }
    return shown
  }
  try {
    const { data, metadata } = upcast(event)
    const opened = openEvent(vault, event.stream, { ...event, data: mask(data), metadata })
    return { data: { ...opened.data, ...masked }, isReadable: true }
  } catch (error) {
    // A value that does not open belongs to an event that was altered, which the line says.
    return { data: { ...mask(event.data), ...masked }, isReadable: !(error instanceof EventNotReadable) }
  }
}

/** Returns the facts of the metadata. Those that an older event lacks are null, and never guessed. */
function shownMetadata(vault: Vault, { metadata, stream }: Pick<NewEvent, 'metadata'> & Pick<AuditedEvent, 'stream'>) {
  const { schema, $causationId, request_id, operation, auth, reason, app, origin, commits, prev, mac } = metadata
  return {
    schema: schema ?? null,
    app: app ?? null,
    request_id: request_id ?? null,
    causation_id: $causationId ?? null,
    operation: operation ?? null,
    auth: auth ?? null,
    origin: origin === undefined ? null : openOrigin(vault, metadata, stream, origin),
    reason: reason ?? null,
    commits: commits ?? {},
    prev: prev ?? null,
    mac: mac ?? null,
  }
}
function openOrigin(vault: Vault, { tenant }: Metadata, stream: AuditedEvent['stream'], origin: string): unknown {
  try {
    const text = vault.openText(originAad(tenant, stream), origin)
    return vault.isErased ? text : JSON.parse(text)
  } catch {
    return null // the event was altered, which the line says
  }
}
