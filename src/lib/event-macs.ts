import { createHmac, createSecretKey } from 'node:crypto'
import type { ClientBase } from 'pg'
import type { Checkpoint, RecordedEvent } from '../events/envelope.ts'
import type { EventId } from '../events/ids.ts'
import { attemptEntry, type DayEvent, macEntry, replayMacEntry } from '../events/leaf.ts'
import { families, familyOf } from '../events/streams.ts'
import { isUuidV8, uuidV8 } from '../events/uuid.ts'
import type { ServiceSecrets } from './keyring.ts'

/**
 * The MACs of command events and of attempts, under a key of the service. Only a process with the master key can make one. So an event that was
 * written or changed by SQL is detected before it has an effect.
 */
export interface EventMacs {
  /** The position of LogStarted. From there on, every command event must have a MAC. It is null before the log has started. */
  readonly start: Checkpoint | null
  /** The position of AttemptMacsStarted, from which on every attempt must have a MAC. Null before that event. */
  readonly attemptsStart: Checkpoint | null
  macOf(event: Parameters<typeof macEntry>[0]): string
  /**
   * Returns the id of an attempt. The id is the MAC of the rest of the event, so an attempt is not longer than without a MAC (decision 65). The same
   * attempt always gets the same id.
   */
  attemptIdOf(event: Omit<DayEvent, 'id'>): EventId
  /** Returns the MAC of a DeliveryReplayed, whose id follows from its delivery and chain. */
  replayMacOf(event: DayEvent): string
  /** Returns what is wrong with an event: `forged` if it has no MAC, `altered` if its MAC belongs to other content, or else null. */
  faultOf(event: RecordedEvent): MacFault | null
  /** Reads again whether the log has started. */
  refresh(): Promise<void>
  /**
   * Stores positions from which on events must have MACs. They are in one secret with the key, so they cannot be changed by SQL without the master key.
   * A position that is not given stays as it is.
   */
  setStarts(starts: Partial<MacStarts>, client?: ClientBase): Promise<void>
}
interface MacStarts {
  readonly commands: Checkpoint
  readonly attempts: Checkpoint
}
export type MacFault = 'forged' | 'altered'

/** The error for an event whose MAC is wrong or missing. */
export class EventForged extends Error {
  readonly code = 'event_forged'
  constructor({ stream, revision }: Pick<RecordedEvent, 'stream' | 'revision'>, fault: MacFault) {
    const why =
      fault === 'forged' ? 'has no MAC: Kolbak has not written it' : 'has a MAC that does not fit: it is not what Kolbak has written'
    super(`${stream}@${revision} ${why}`)
  }
}

const keyLength = 32
const purpose = 'event-mac'

/** The secret is the key and the positions. Without the position of attempts, it has the form of an older version. */
const blobOf = (key: Buffer, { commands = null, attempts = null }: Starts): Buffer =>
  Buffer.concat([key, Buffer.from(`${commands ?? ''}${attempts === null ? '' : ` ${attempts}`}`, 'latin1')])
type Starts = { readonly [K in keyof MacStarts]: Checkpoint | null }
function startsIn(blob: Buffer): Starts {
  const [commands, attempts] = blob.toString('latin1', keyLength).split(' ') as (Checkpoint | undefined)[]
  return { commands: commands || null, attempts: attempts ?? null }
}

/** Opens the key of the MACs, which is created if it is missing. */
export async function openEventMacs(keyring: ServiceSecrets): Promise<EventMacs> {
  const secret = await keyring.secret(purpose, keyLength)
  const key = createSecretKey(secret.subarray(0, keyLength))
  let starts = startsIn(secret)
  const hmacOf = (text: string) => createHmac('sha256', key).update(text)
  const macOf: EventMacs['macOf'] = (event) => hmacOf(macEntry(event)).digest('base64url')
  const idOf: EventMacs['attemptIdOf'] = (event) => uuidV8(hmacOf(attemptEntry(event)).digest()) as EventId
  /** Data of the attempts that this process has made and still has in memory, by their metadata. They need no check, which would take 5 µs. */
  const ownAttempts = new WeakMap<object, object>()
  const attemptIdOf: EventMacs['attemptIdOf'] = (event) => {
    ownAttempts.set(event.metadata, event.data)
    return idOf(event)
  }
  const replayMacOf: EventMacs['replayMacOf'] = (event) => hmacOf(replayMacEntry(event)).digest('base64url')
  // Comparisons in constant time are not needed, because an attacker could try a MAC only by writing an event to the store.
  const faultOfMac = (event: RecordedEvent, expected: typeof macOf | typeof replayMacOf): MacFault | null => {
    const { mac } = event.metadata
    if (typeof mac !== 'string') return 'forged'
    return expected(event) === mac ? null : 'altered'
  }
  const faultOfAttempt = (event: RecordedEvent): MacFault | null => {
    if (event.type === 'DeliveryReplayed') return faultOfMac(event, replayMacOf)
    if (ownAttempts.get(event.metadata) === event.data || idOf(event) === event.id) return null
    return isUuidV8(event.id) ? 'altered' : 'forged'
  }
  return {
    get start() {
      return starts.commands
    },
    get attemptsStart() {
      return starts.attempts
    },
    macOf,
    attemptIdOf,
    replayMacOf,
    faultOf(event) {
      const family = familyOf(event.stream)
      if (family === 'attempts') return starts.attempts === null || event.position < starts.attempts ? null : faultOfAttempt(event)
      if (families[family] !== 'command' || starts.commands === null || event.position < starts.commands) return null
      return faultOfMac(event, macOf)
    },
    async refresh() {
      starts = startsIn(await keyring.secret(purpose, keyLength))
    },
    async setStarts(given, client) {
      const current = await keyring.secret(purpose, keyLength)
      const next = { ...startsIn(current), ...given }
      await keyring.replaceSecret(purpose, blobOf(current.subarray(0, keyLength), next), client)
      starts = next
    },
  }
}
