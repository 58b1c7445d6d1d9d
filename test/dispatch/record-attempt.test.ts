import { expect } from 'chai'
import { ulid } from 'ulid'
import { type RecordAttemptDeps, recordAttempt } from '../../src/dispatch/record-attempt.ts'
import type { NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import { firstAttempt } from '../../src/events/refs.ts'
import { upcast } from '../../src/events/schema.ts'
import type { StreamName } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { noMacs } from '../support/no-macs.ts'

describe('the event of an attempt', () => {
  const tenant = ulid() as TenantId
  const webhook = ulid() as WebhookId
  const message = {
    message: 'm1' as MessageId,
    place: 'bus/0/1/0' as Place,
    fingerprint: 'f',
    event: 'a.b',
    accepted_at: '2026-03-01T08:00:00.000Z',
  }
  const facts = { webhook_revision: 1, code: 204, duration_ms: 3, address: '203.0.113.7', reason: null, response: null }
  /** Records a success, and returns the stored event with its stream. */
  const record = async (readsImplied: boolean): Promise<RecordedEvent> => {
    const stored: (NewEvent & { stream: StreamName })[] = []
    const deps: RecordAttemptDeps = {
      store: {
        async append(stream, [event]) {
          stored.push({ ...event!, stream })
          return { revision: 0, position: '' as never }
        },
      },
      schedule: { done: async () => {} },
      macs: noMacs,
      log: silentLog,
      readsImplied: () => readsImplied,
    }
    const ref = firstAttempt({ tenant, ...message }, webhook, 'correlation')
    await recordAttempt(
      deps,
      { ref, time: '2026-03-01T08:00:01.000Z', type: 'DeliverySucceeded', facts, vault: null },
      { fromTable: false },
    )
    return { ...stored[0]!, revision: 0, position: '' as never }
  }

  it('leaves out what its stream and metadata say, and what is null, and a reader gets all fields', async () => {
    const event = await record(true)
    expect(event.data).to.not.have.any.keys('tenant', 'webhook', 'reason', 'response')
    expect(event.data).to.include({ address: '203.0.113.7', message: 'm1' })
    expect(upcast(event).data).to.include({ tenant, webhook, ...message, ...facts })
    expect(upcast(upcast(event))).to.deep.equal(upcast(event))
  })
  it('has every field and the former schema while a process of version 0.2 is alive', async () => {
    const event = await record(false)
    expect(event.metadata.schema).to.equal(1)
    expect(event.data).to.include({ tenant, webhook, ...message, ...facts })
    expect(upcast(event).data).to.include({ tenant, webhook, ...message, ...facts })
  })
})
