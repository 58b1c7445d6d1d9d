import { expect } from 'chai'
import { begunDeliveries, classify } from '../../src/dispatch/route.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { DeliveryId, Place, WebhookId } from '../../src/events/ids.ts'
import type { MessageRecord } from '../../src/events/message-record.ts'
import type { DeliveryReads } from '../../src/ports/delivery-log.ts'
import type { IndexedMessage } from '../../src/projections/message-index.ts'
import { owed } from '../support/owed.ts'

const ref = owed()
const row = (change: Partial<IndexedMessage> = {}): IndexedMessage => ({
  ...ref,
  place: 'bus/0/1/0' as Place,
  fingerprint: 'x',
  webhooks: ['w1' as WebhookId],
  matched_at: '1' as Checkpoint,
  ...change,
})

describe('a message of the bus', () => {
  it('is routed when the index has no row of it, or unmatched when no webhook matches', () => {
    expect(classify(row(), null)).to.deep.equal({ kind: 'routed', row: row() })
    expect(classify(row({ webhooks: [] }), null).kind).to.equal('unmatched')
  })
  it('is redelivered when the index has it from the same place, and keeps the stored webhooks', () => {
    const stored = row({ webhooks: ['w2' as WebhookId] })
    expect(classify(row(), stored)).to.deep.equal({ kind: 'redelivered', row: stored })
  })
  it('is a duplicate when the index has the same content from another place', () => {
    expect(classify(row(), row({ place: 'bus/0/0/0' as Place })).kind).to.equal('duplicate')
  })
  it('is rejected when the index has other content from another place', () => {
    expect(classify(row(), row({ place: 'bus/0/0/0' as Place, fingerprint: 'y' })).kind).to.equal('rejected')
  })
  it('is not sent again when it is redelivered while a scheduled row of its delivery ends and the history is behind', async () => {
    // The attempt is stored and its row deleted, just when the dispatcher begins to wait for the history.
    let isStored = false
    const schedule = { existing: async (ids: readonly DeliveryId[]) => new Set(isStored ? [] : ids) }
    const historyCatchUp = {
      async reachHead() {
        isStored = true
      },
    }
    const states: DeliveryReads['states'] = async (keys) => keys.map(() => null)
    const incoming = { record: { correlation_id: 'c' } as MessageRecord }
    const redelivered = [{ incoming, row: row() }]
    expect(await begunDeliveries({ schedule, historyCatchUp, deliveryLog: { states } }, redelivered)).to.have.property('size', 1)
  })
})
