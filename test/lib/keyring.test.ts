import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import type { EventId } from '../../src/events/ids.ts'
import { DataKeyFault, type Keyring, openKeyring, WrongMasterKey } from '../../src/lib/keyring.ts'
import { KeyDestroyed } from '../../src/lib/seal.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

const asked = '0b1f8d0a-6c0e-4f5b-9a53-2b4d1f3c9e11' as EventId

describe('the keyring', () => {
  let db: TestDatabase
  const master = randomBytes(32)
  before(async () => {
    db = await freshDatabase()
  })
  after(() => db.drop())
  /** Returns the vault of an owner whose keys are created if they are missing, as when a tenant is registered. */
  const vaultOf = async (keyring: Keyring, owner: string) => {
    await keyring.create(owner)
    return keyring.vault(owner)
  }
  const failureOf = async (work: Promise<unknown>): Promise<unknown> => {
    try {
      return await work
    } catch (error) {
      return error
    }
  }

  it('opens the values that it sealed before a restart', async () => {
    const sealed = (await vaultOf(await openKeyring(db.pool, master), 'a')).sealText(['x'], 'content')
    const restarted = await openKeyring(db.pool, master)
    expect((await restarted.vault('a')).openText(['x'], sealed)).to.equal('content')
  })
  it('gives each owner its own key', async () => {
    const keyring = await openKeyring(db.pool, master)
    const sealed = (await vaultOf(keyring, 'a')).sealText(['x'], 'content')
    const stranger = await vaultOf(keyring, 'b')
    expect(() => stranger.openText(['x'], sealed)).to.throw()
    expect(stranger.fingerprint(['x'])).to.not.equal((await keyring.vault('a')).fingerprint(['x']))
  })
  it('keeps a vault in memory after the first use', async () => {
    const keyring = await openKeyring(db.pool, master)
    expect(keyring.cached('c')).to.equal(undefined)
    const vault = await vaultOf(keyring, 'c')
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
    await vaultOf(keyring, 'd')
    const { rows } = await db.pool.query<{ wrapped: Buffer }>('select wrapped from data_keys')
    expect(rows.length).to.be.greaterThan(4)
    for (const { wrapped } of rows) expect(wrapped.length).to.equal(12 + 16 + 32)
  })
  it('does not unwrap a key that was moved to another row', async () => {
    const keyring = await openKeyring(db.pool, master)
    await vaultOf(keyring, 'e')
    await keyring.create('f')
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
        const [vault, sameVault] = await Promise.all([vaultOf(first, `owner ${i}`), vaultOf(second, `owner ${i}`)])
        expect(sameVault.openText(['x'], vault.sealText(['x'], 'content'))).to.equal('content')
        expect(sameVault.fingerprint(['x'])).to.equal(vault.fingerprint(['x']))
      }
    } finally {
      await other.drop()
    }
  })
  it('makes keys once for many concurrent calls', async () => {
    const keyring = await openKeyring(db.pool, master)
    const vaults = await Promise.all(Array.from({ length: 20 }, () => vaultOf(keyring, 'g')))
    expect(new Set(vaults).size).to.equal(1)
    const { rows } = await db.pool.query(`select purpose from data_keys where owner = 'g' order by purpose`)
    expect(rows).to.deep.equal([{ purpose: 'fingerprint' }, { purpose: 'seal' }])
  })
  it('shows each text of an erased owner as [erased], and seals and opens nothing', async () => {
    const keyring = await openKeyring(db.pool, master)
    const sealed = (await vaultOf(keyring, 'h')).sealText(['x'], 'content')
    await keyring.destroy('h', asked)
    await keyring.create('h') // changes nothing, so that no new key takes the place of the destroyed one
    for (const opened of [keyring, await openKeyring(db.pool, master)]) {
      const vault = await opened.vault('h')
      expect([vault.isErased, vault.openText(['x'], sealed)]).to.deep.equal([true, '[erased]'])
      for (const work of [
        () => vault.seal(['x'], Buffer.alloc(1)),
        () => vault.open(['x'], Buffer.alloc(60)),
        () => vault.fingerprint(['x']),
      ])
        expect(work).to.throw(KeyDestroyed)
    }
    const { rows } = await db.pool.query(`select wrapped from data_keys where owner = 'h'`)
    expect(rows).to.deep.equal([{ wrapped: null }, { wrapped: null }])
  })
  it('reports a key that is missing, and makes no new one', async () => {
    const keyring = await openKeyring(db.pool, master)
    expect(await failureOf(keyring.vault('nobody')))
      .to.be.instanceOf(DataKeyFault)
      .with.property('code', 'key_missing')
    const { rows } = await db.pool.query(`select from data_keys where owner = 'nobody'`)
    expect(rows).to.deep.equal([])
  })
  it('treats a key that somebody has destroyed by SQL as a fault, and not as erased', async () => {
    const keyring = await openKeyring(db.pool, master)
    for (const owner of ['i', 'j']) await vaultOf(keyring, owner)
    await keyring.destroy('j', asked)
    const [byHand, copied] = [`wrapped = null`, `wrapped = null, erased_by = (select erased_by from data_keys where owner = 'j' limit 1)`]
    for (const change of [byHand, copied]) {
      await db.pool.query(`update data_keys set ${change} where owner = 'i'`)
      const failure = await failureOf((await openKeyring(db.pool, master)).vault('i'))
      expect(failure).to.be.instanceOf(DataKeyFault).with.property('code', 'erased_without_record')
    }
  })
  it('computes a look-up HMAC that depends on the purpose and never changes', async () => {
    const keyring = await openKeyring(db.pool, master)
    const hmac = keyring.lookup('api-key', 'XDHJEUU00110')
    expect(hmac).to.match(/^[0-9a-f]{64}$/)
    expect((await openKeyring(db.pool, master)).lookup('api-key', 'XDHJEUU00110')).to.equal(hmac)
    expect(keyring.lookup('client-secret', 'XDHJEUU00110')).to.not.equal(hmac)
  })
})
