import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type { Decider } from '../../src/commands/handler.ts'
import type { Checkpoint, DecidedEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { EventId, KeyId, TenantId, WebhookId } from '../../src/events/ids.ts'
import { KolbakError } from '../../src/lib/errors.ts'

/** Returns the event's time in specifications: one second for each revision. */
export const timeAt = (revision: number): string => new Date(Date.UTC(2026, 0, 1) + revision * 1_000).toISOString()

export const tenantId = '01JZZZZZZZZZZZZZZZZZZZZZT1' as TenantId
export const key_id = '01JZZZZZZZZZZZZZZZZZZZZZK1' as KeyId
export const webhookId = '01JZZZZZZZZZZZZZZZZZZZZZW1' as WebhookId

const record = (fact: DecidedEvent, revision: number): RecordedEvent => ({
  id: randomUUID() as EventId,
  type: fact.type,
  data: fact.data,
  metadata: { schema: 1, actor: 'system:spec', tenant: tenantId, time: timeAt(revision), $correlationId: 'c', $causationId: null },
  stream: `tenant-${tenantId}`,
  revision,
  position: String(revision) as Checkpoint,
})

/**
 * Returns `given`, with which a test writes a specification: `given(past events).when(command).then(events)`, `.thenRefused(code)`, or
 * `.thenState(part of the next state)`.
 */
export function specificationOf<State, Command, Event extends DecidedEvent>(decider: Decider<State, Command, Event>) {
  const fold = (facts: readonly DecidedEvent[]) =>
    facts.map(record).reduce<State | null>((state, event) => decider.evolve(state, event), decider.initial)
  return (...past: Event[]) => ({
    when: (command: Command) => ({
      // biome-ignore lint/suspicious/noThenProperty: given/when/then needs this name, and no code awaits the object
      then(...expected: Event[]) {
        expect(decider.decide(command, fold(past))).to.deep.equal(expected)
      },
      thenRefused(code: string) {
        expect(() => decider.decide(command, fold(past)))
          .to.throw(KolbakError)
          .with.property('code', code)
      },
      thenState(part: Partial<State>) {
        expect(fold([...past, ...decider.decide(command, fold(past))])).to.deep.include(part)
      },
    }),
    state: () => fold(past),
  })
}
