import { expect } from 'chai'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('embedded', () => {
  let db: TestDatabase
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  it('is migrated', async () => {
    const { rows } = await db.pool.query('select count(*) as n from data_keys')
    expect(rows[0].n).to.equal(0n)
  })
})
