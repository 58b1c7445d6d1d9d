import { expect } from 'chai'
import type { Checkpoint } from '../../src/events/envelope.ts'
import type { MessageId, Place, TenantId, WebhookId } from '../../src/events/ids.ts'
import { installProjections } from '../../src/projections/builds.ts'
import { createMessageIndex, type IndexedMessage, type MessageIndex } from '../../src/projections/message-index.ts'
import { changedSince, webhooks } from '../../src/projections/webhooks.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('the message index', () => {
  let db: TestDatabase
  let index: MessageIndex
  before(async () => {
    db = await freshDatabase()
    index = createMessageIndex(db.pool)
  })
  after(() => db.drop())
  const message = (id: string, place: string, change: Partial<IndexedMessage> = {}): IndexedMessage => ({
    tenant: '01ARZ3NDEKTSV4RRFFQ69G5FAV' as TenantId,
    message: id as MessageId,
    fingerprint: 'f1',
    place: place as Place,
    event: 'order.created',
    accepted_at: '2026-01-01T00:00:00.123Z',
    webhooks: ['01ARZ3NDEKTSV4RRFFQ69G5FAW' as WebhookId],
    matched_at: '0001' as Checkpoint,
    ...change,
  })

  it('stores the first message with an id, and returns the stored row for a second one', async () => {
    const first = message('a', 'b/0/1/0')
    expect(await index.insertNew([first])).to.deep.equal([true])
    expect(await index.insertNew([message('a', 'b/0/2/0', { fingerprint: 'f2' })])).to.deep.equal([false])
    expect(await index.find(first.tenant, first.message)).to.deep.equal(first)
  })
  it('stores an id that occurs twice in a batch with its first place', async () => {
    expect(await index.insertNew([message('twice', 'b/0/3/0'), message('other', 'b/0/3/1'), message('twice', 'b/0/3/2')])).to.deep.equal([
      true,
      true,
      false,
    ])
  })
  it('keeps the same id of two tenants apart', async () => {
    const other = '01ARZ3NDEKTSV4RRFFQ69G5FAX' as TenantId
    expect(await index.insertNew([message('shared', 'b/0/4/0'), message('shared', 'b/0/4/1', { tenant: other })])).to.deep.equal([
      true,
      true,
    ])
    expect(await index.stored([message('shared', ''), message('none', ''), message('shared', '', { tenant: other })])).to.have.length(3)
  })
  it('stores a message for no webhook, and one for thousands', async () => {
    const manyWebhooks = Array.from({ length: 3_000 }, (_, i) => String(i).padStart(26, '0') as WebhookId)
    await index.insertNew([message('none', 'b/0/5/0', { webhooks: [] }), message('many', 'b/0/5/1', { webhooks: manyWebhooks })])
    await index.insertNew([message('lone', 'b/0/6/0', { webhooks: [] })])
    expect((await index.stored([message('lone', '')]))[0]?.webhooks).to.deep.equal([])
    const [none, many] = await index.stored([message('none', ''), message('many', '')])
    expect(none?.webhooks).to.deep.equal([])
    expect(many?.webhooks).to.deep.equal(manyWebhooks)
  })
  it('stores each id once for concurrent inserts in any order, without a deadlock', async () => {
    const ids = Array.from({ length: 50 }, (_, i) => `c${i}`)
    const claims = await Promise.all(
      Array.from({ length: 8 }, (_, k) =>
        index.insertNew([...ids].sort(() => (k % 2 ? 1 : -1)).map((id, i) => message(id, `b/${k}/${i}/0`))),
      ),
    )
    expect(claims.flat().filter(Boolean)).to.have.length(50)
  })
  it('writes rows that were matched with the current webhooks, and refuses rows that were matched with older ones', async () => {
    await installProjections(db.pool, [webhooks])
    const { cursor } = await changedSince(db.pool, null)
    expect(await index.insertNew([message('matched', 'b/0/7/0')], cursor)).to.deep.equal([true])
    expect(await index.insertNew([message('matched', 'b/0/7/1'), message('more', 'b/0/7/2')], cursor)).to.deep.equal([false, true])
    await db.pool.query(`update projections set checkpoint = '0007' where name = 'webhooks'`)
    expect(await index.insertNew([message('late', 'b/0/8/0')], cursor)).to.equal(null)
    expect(await index.stored([message('late', '')])).to.deep.equal([null])
    expect(await index.insertNew([message('late', 'b/0/8/0')], (await changedSince(db.pool, cursor)).cursor)).to.deep.equal([true])
    await db.pool.query('delete from projections')
    expect(await index.insertNew([message('later', 'b/0/9/0')], cursor)).to.equal(null)
  })
  it('deletes messages that were accepted before a time, and no others', async () => {
    await index.insertNew([message('old', 'b/0/6/0', { accepted_at: '2025-01-01T00:00:00.000Z' })])
    expect(await index.expire('2025-06-01T00:00:00.000Z')).to.equal(1)
    expect(await index.find(message('old', '').tenant, 'old' as MessageId)).to.equal(null)
    expect(await index.find(message('a', '').tenant, 'a' as MessageId)).to.not.equal(null)
  })
  it('lists by filters in bounded steps: a page may be short or empty, but has the cursor of the next page', async () => {
    const tenant = '01ARZ3NDEKTSV4RRFFQ69G5FAY' as TenantId
    const listed = Array.from({ length: 10 }, (_, i) =>
      message(`l${i}`, `b/0/7/${i}`, {
        tenant,
        event: i === 0 || i === 6 ? 'seldom' : 'often',
        accepted_at: `2026-01-01T00:00:00.00${Math.floor(i / 2)}Z`,
      }),
    )
    await index.insertNew(listed)
    const pages: string[][] = []
    let after: { at: string; message: MessageId } | null | undefined
    while (after !== null) {
      const { messages, next } = await index.list({ tenant, event: 'seldom', limit: 5, scan: 3, ...(after === undefined ? {} : { after }) })
      pages.push(messages.map((m) => m.message))
      after = next
    }
    expect(pages).to.deep.equal([[], ['l6'], [], ['l0']])
    const first = await index.list({ tenant, event: 'often', limit: 2, scan: 3 })
    expect(first.messages.map((m) => m.message)).to.deep.equal(['l9', 'l8'])
    expect(first.next?.message).to.equal('l8')
  })
})
