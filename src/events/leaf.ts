import { createHash, hash } from 'node:crypto'
import type { RecordedEvent } from './envelope.ts'

/*
 * The texts that are hashed and signed. They need no canonical form, because both event stores keep exactly the JSON that JSON.stringify made, and
 * JSON.stringify makes the same JSON from it again. The texts contain no positions, so a move to another engine does not change them.
 */

type CommandEvent = Pick<RecordedEvent, 'stream' | 'revision' | 'id' | 'type' | 'data' | 'metadata'>
export type DayEvent = Omit<CommandEvent, 'revision'>

/** Returns the text of a command event. Its hash is the event's leaf in the log. */
export const commandEntry = ({ stream, revision, id, type, data, metadata }: CommandEvent): string =>
  JSON.stringify(['command/1', stream, revision, id, type, data, metadata])
/** Returns the text over which the MAC of a command event is made: its entry without the MAC. */
export function macEntry(event: CommandEvent): string {
  const { mac: _, ...metadata } = event.metadata
  return commandEntry({ ...event, metadata })
}
/** Returns the text over which the MAC of a DeliveryReplayed is made. */
export function replayMacEntry(event: DayEvent): string {
  const { mac: _, ...metadata } = event.metadata
  return dayEntry({ ...event, metadata })
}
/** Returns the text from which the id of an attempt follows, so it has no id. */
export const attemptEntry = ({ stream, type, data, metadata }: Omit<DayEvent, 'id'>): string =>
  JSON.stringify(['attempt/1', stream, type, data, metadata])
/** Returns the text of an event of a day stream. It has no revision, because the retention may drop the first events of a stream. */
export const dayEntry = ({ stream, id, type, data, metadata }: DayEvent): string =>
  JSON.stringify(['day/1', stream, id, type, data, metadata])

/** Returns the entry of a command event from its texts as they are stored. */
export const storedEntry = (
  event: Pick<CommandEvent, 'stream' | 'revision' | 'id' | 'type'> & Record<'data' | 'metadata', string>,
): string => {
  const { stream, revision, id, type, data, metadata } = event
  return `["command/1",${JSON.stringify(stream)},${revision},"${id}",${JSON.stringify(type)},${data},${metadata}]`
}

/** Returns the text that stands for a stream in the list of its tenant: its last revision, and the leaf of that event. */
export const streamEntry = (stream: string, revision: number, leaf: Buffer): string =>
  JSON.stringify(['stream/1', stream, revision, leaf.toString('base64')])
/** Returns the text that stands for a tenant in a StreamsListed: the number of its streams, and the root of the tree over them. */
export const tenantEntry = (tenant: string, streams: number, root: Buffer): string =>
  JSON.stringify(['tenant/1', tenant, streams, root.toString('base64')])

/** Returns the hash of a leaf (RFC 6962, 2.1): SHA-256 of a zero byte and the entry. */
export const leafHash = (entry: string): Buffer => hash('sha256', Buffer.concat([zero, Buffer.from(entry)]), 'buffer')
const zero = Buffer.from([0])

/** Returns the commitment to a value: SHA-256 (base64url) of the JSON of its field, a blinding and the value. */
export const commitment = (field: string, blinding: string, value: unknown): string =>
  createHash('sha256')
    .update(JSON.stringify([field, blinding, value]))
    .digest('base64url')
