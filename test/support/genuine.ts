import type { Pool } from 'pg'
import type { RecordedEvent } from '../../src/events/envelope.ts'
import { familyOf } from '../../src/events/streams.ts'
import { openEventMacs } from '../../src/lib/event-macs.ts'
import { openKeyring } from '../../src/lib/keyring.ts'
import { fixedKeys } from './service.ts'

/** Returns a function that gives an event the MAC that a service with `fixedKeys` would give it. It stands for a faulty version of Kolbak. */
export async function openMacs(pool: Pool) {
  const macs = await openEventMacs(await openKeyring(pool, Buffer.from(fixedKeys.KOLBAK_MASTER_KEY, 'base64')))
  return <E extends Omit<RecordedEvent, 'position'>>(event: E): E =>
    familyOf(event.stream) === 'attempts'
      ? { ...event, id: macs.attemptIdOf(event) }
      : { ...event, metadata: { ...event.metadata, mac: macs.macOf(event) } }
}
