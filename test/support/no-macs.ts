import crypto from 'node:crypto'
import type { EventId } from '../../src/events/ids.ts'
import type { EventMacs } from '../../src/lib/event-macs.ts'

/** Makes and checks no MACs, for tests whose events are not forged. */
export const noMacs: Pick<EventMacs, 'attemptIdOf' | 'faultOf' | 'replayMacOf'> = {
  attemptIdOf: () => crypto.randomUUID() as EventId,
  faultOf: () => null,
  replayMacOf: () => 'no MAC',
}
