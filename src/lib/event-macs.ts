import { createHmac, createSecretKey } from 'node:crypto'
import type { ClientBase } from 'pg'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import { macEntry } from '../events/leaf.ts'
import { families, familyOf } from '../events/streams.ts'
import type { ServiceSecrets } from './keyring.ts'

/**
 * The MACs of command events, under a key of the service. Only a process with the master key can make one. So an event that was
 * written or changed by SQL is detected before it has an effect.
 */
export interface EventMacs {
  /** The position of LogStarted. From there on, every command event must have a MAC. It is null before the log has started. */
  readonly start: Checkpoint | null
  macOf(event: Parameters<typeof macEntry>[0]): string
  /** Returns what is wrong with an event: `forged` if it has no MAC, `altered` if its MAC belongs to other content, or else null. */
  faultOf(event: RecordedEvent): 'forged' | 'altered' | null
  /** Reads again whether the log has started. */
  refresh(): Promise<void>
  /** Stores the position of LogStarted in one secret with the key. It cannot be changed by SQL without the master key. */
  setStart(position: Checkpoint, client?: ClientBase): Promise<void>
}

/** The error for an event whose MAC is wrong or missing. */
export class EventForged extends Error {
  readonly code = 'event_forged'
  constructor({ stream, revision }: Pick<RecordedEvent, 'stream' | 'revision'>, fault: 'forged' | 'altered') {
    const why =
      fault === 'forged' ? 'has no MAC: Kolbak has not written it' : 'has a MAC that does not fit: it is not what Kolbak has written'
    super(`${stream}@${revision} ${why}`)
  }
}

const keyLength = 32
const purpose = 'event-mac'

/** Opens the key of the MACs, which is created if it is missing. */
export async function openEventMacs(keyring: ServiceSecrets): Promise<EventMacs> {
  const secret = await keyring.secret(purpose, keyLength)
  const key = createSecretKey(secret.subarray(0, keyLength))
  const startIn = (blob: Buffer) => (blob.length === keyLength ? null : (blob.toString('latin1', keyLength) as Checkpoint))
  let start = startIn(secret)
  const macOf: EventMacs['macOf'] = (event) => createHmac('sha256', key).update(macEntry(event)).digest('base64url')
  return {
    get start() {
      return start
    },
    macOf,
    faultOf(event) {
      if (start === null || event.position < start || families[familyOf(event.stream)] !== 'command') return null
      const { mac } = event.metadata
      if (typeof mac !== 'string') return 'forged'
      // A comparison in constant time is not needed, because an attacker could try a MAC only by writing an event to the store.
      return macOf(event) === mac ? null : 'altered'
    },
    async refresh() {
      start = startIn(await keyring.secret(purpose, keyLength))
    },
    async setStart(position, client) {
      const current = await keyring.secret(purpose, keyLength)
      await keyring.replaceSecret(purpose, Buffer.concat([current.subarray(0, keyLength), Buffer.from(position, 'latin1')]), client)
      start = position
    },
  }
}
