import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { KeyDestroyed, openKeyring, WrongMasterKey } from '../../src/lib/keyring.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

describe('the keyring', () => {
  let db: TestDatabase
  const master = randomBytes(32)
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  const failureOf = async (work: Promise<unknown>): Promise<unknown> => {
    try {
      return await work
    } catch (error) {
      return error
    }
  }

  it('opens the values that it sealed before a restart', async () => {
    const sealed = (await (await openKeyring(db.pool, master)).vault('a')).sealText(['x'], 'content')
    const restarted = await openKeyring(db.pool, master)
    expect((await restarted.vault('a')).openText(['x'], sealed)).to.equal('content')
  })
  it('gives each owner its own key', async () => {
    const keyring = await openKeyring(db.pool, master)
    const sealed = (await keyring.vault('a')).sealText(['x'], 'content')
    const stranger = await keyring.vault('b')
    expect(() => stranger.openText(['x'], sealed)).to.throw()
    expect(stranger.fingerprint(['x'])).to.not.equal((await keyring.vault('a')).fingerprint(['x']))
  })
  it('keeps a vault in memory after the first use', async () => {
    const keyring = await openKeyring(db.pool, master)
    expect(keyring.cached('c')).to.equal(undefined)
    const vault = await keyring.vault('c')
    expect(keyring.cached('c')).to.equal(vault)
    expect(await keyring.vault('c')).to.equal(vault)
  })
  it('refuses a wrong master key every time', async () => {
    await openKeyring(db.pool, master)
    expect(await failureOf(openKeyring(db.pool, randomBytes(32)))).to.be.instanceOf(WrongMasterKey)
    expect(await failureOf(openKeyring(db.pool, randomBytes(32)))).to.be.instanceOf(WrongMasterKey)
    expect((await openKeyring(db.pool, master)).lookup('api-key', 'x')).to.be.a('string')
  })
  it('stores only wrapped keys', async () => {
    const keyring = await openKeyring(db.pool, master)
    await keyring.vault('d')
    const { rows } = await db.pool.query<{ wrapped: Buffer }>('select wrapped from data_keys')
    expect(rows.length).to.be.greaterThan(4)
    for (const { wrapped } of rows) expect(wrapped.length).to.equal(12 + 16 + 32)
  })
  it('does not unwrap a key that was moved to another row', async () => {
    const keyring = await openKeyring(db.pool, master)
    await keyring.vault('e')
    await keyring.vault('f')
    await db.pool.query(
      `update data_keys set wrapped = (select wrapped from data_keys where owner = 'e' and purpose = 'seal') where owner = 'f' and purpose = 'seal'`,
    )
    expect(await failureOf((await openKeyring(db.pool, master)).vault('f'))).to.be.instanceOf(WrongMasterKey)
  })
  it('has the same keys as another process that creates them at the same time', async () => {
    const other = await freshDatabase()
    try {
      const [first, second] = await Promise.all([openKeyring(other.pool, master), openKeyring(other.pool, master)])
      expect(first.lookup('api-key', 'x')).to.equal(second.lookup('api-key', 'x'))
      for (let i = 0; i < 10; i++) {
        const [vault, sameVault] = await Promise.all([first.vault(`owner ${i}`), second.vault(`owner ${i}`)])
        expect(sameVault.openText(['x'], vault.sealText(['x'], 'content'))).to.equal('content')
        expect(sameVault.fingerprint(['x'])).to.equal(vault.fingerprint(['x']))
      }
    } finally {
      await other.drop()
    }
  })
  it('makes keys once for many concurrent calls', async () => {
    const keyring = await openKeyring(db.pool, master)
    const vaults = await Promise.all(Array.from({ length: 20 }, () => keyring.vault('g')))
    expect(new Set(vaults).size).to.equal(1)
    const { rows } = await db.pool.query(`select purpose from data_keys where owner = 'g' order by purpose`)
    expect(rows).to.deep.equal([{ purpose: 'fingerprint' }, { purpose: 'seal' }])
  })
  it('reports an owner that has been erased, and makes no new key', async () => {
    await (await openKeyring(db.pool, master)).vault('h')
    await db.pool.query(`update data_keys set wrapped = null where owner = 'h'`)
    const keyring = await openKeyring(db.pool, master)
    expect(await failureOf(keyring.vault('h'))).to.be.instanceOf(KeyDestroyed)
    expect(await failureOf(keyring.vault('h'))).to.be.instanceOf(KeyDestroyed)
    expect(keyring.cached('h')).to.equal(undefined)
  })
  it('computes a look-up HMAC that depends on the purpose and never changes', async () => {
    const keyring = await openKeyring(db.pool, master)
    const hmac = keyring.lookup('api-key', 'XDHJEUU00110')
    expect(hmac).to.match(/^[0-9a-f]{64}$/)
    expect((await openKeyring(db.pool, master)).lookup('api-key', 'XDHJEUU00110')).to.equal(hmac)
    expect(keyring.lookup('client-secret', 'XDHJEUU00110')).to.not.equal(hmac)
  })
})
