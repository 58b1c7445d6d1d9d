import { expect } from 'chai'
import { ulid } from 'ulid'
import type { KeyId } from '../../src/events/ids.ts'
import { keyStream } from '../../src/events/streams.ts'
import type { Keyring } from '../../src/lib/keyring.ts'
import { type Log, silentLog } from '../../src/lib/log.ts'
import { erasedVault } from '../../src/lib/seal.ts'
import { sqlOn, transaction } from '../../src/lib/sql.ts'
import { apiKeys, findKey, findKeyByValue, listKeys } from '../../src/projections/api-keys.ts'
import { createKeyUsage } from '../../src/projections/key-usage.ts'
import { waitFor } from '../support/wait-for.ts'
import { keyValue, projectionWorld, type World } from './world.ts'

describe('the read model of API keys', () => {
  let world: World
  let deps: { pool: World['db']['pool']; keyring: World['keyring']; log: Log }
  before(async () => {
    world = await projectionWorld()
    deps = { pool: world.db.pool, keyring: world.keyring, log: silentLog }
  })
  after(() => world.stop())
  const now = () => new Date().toISOString()

  it('shows an opened key, with the same fields as its state', async () => {
    const tenant = await world.newTenant()
    const { deleted, ...state } = await world.newKey(tenant)
    expect(deleted).to.equal(false)
    expect(await findKey(deps, tenant, state.id)).to.deep.equal({ ...state, last_accessed_at: null, revision: 0 })
  })
  it('shows changes', async () => {
    const tenant = await world.newTenant()
    const { id } = await world.newKey(tenant)
    await world.key(tenant, id, { type: 'ChangeKey', name: 'Key 2', scopes: ['write:webhooks'] })
    expect(await findKey(deps, tenant, id)).to.deep.include({
      name: 'Key 2',
      description: 'This is Key',
      scopes: ['write:webhooks'],
      revision: 1,
    })
    const { state } = await world.key(tenant, id, { type: 'ChangeKey', description: null })
    expect(await findKey(deps, tenant, id)).to.deep.include({
      name: 'Key 2',
      description: null,
      scopes: ['write:webhooks'],
      revision: 2,
      updated_at: state.updated_at,
    })
  })
  it('stores no readable secret', async () => {
    const tenant = await world.newTenant()
    const { id, key } = await world.newKey(tenant, { name: 'a telling name', description: 'a telling text' })
    await world.key(tenant, id, { type: 'RotateKey', key: keyValue(), previous_key_until: '2099-01-01T00:00:00.000Z' })
    const { rows } = await world.db.pool.query('select * from api_keys where id = $1', [id])
    const stored = JSON.stringify(rows)
    expect(rows).to.have.length(1)
    for (const text of [key, 'a telling name', 'a telling text']) expect(stored).to.not.contain(text)
  })
  it('does not show a key to another tenant, or after its deletion', async () => {
    const [tenant, other] = [await world.newTenant(), await world.newTenant()]
    const { id, key } = await world.newKey(tenant)
    expect(await findKey(deps, other, id)).to.equal(null)
    expect((await listKeys(deps, { tenant: other, limit: 10, offset: 0 })).total).to.equal(0)
    await world.key(tenant, id, { type: 'DeleteKey', webhooks: 'keep' })
    expect(await findKey(deps, tenant, id)).to.equal(null)
    expect(await listKeys(deps, { tenant, limit: 10, offset: 0 })).to.deep.equal({ rows: [], total: 0 })
    expect(await findKeyByValue(deps, key, now())).to.equal(null)
    const { rows } = await world.db.pool.query('select deleted_at from api_keys where id = $1', [id])
    expect(rows[0]?.deleted_at).to.be.a('string')
  })
  it('lists the newest first, with the total of all pages', async () => {
    const tenant = await world.newTenant()
    const ids: KeyId[] = []
    for (let i = 0; i < 3; i++) ids.unshift((await world.newKey(tenant, { name: `${i}` }, `2026-01-0${i + 1}T00:00:00.000Z`)).id)
    const page = await listKeys(deps, { tenant, limit: 2, offset: 0 })
    expect(page.rows.map((row) => row.id)).to.deep.equal(ids.slice(0, 2))
    expect(page.rows.map((row) => row.name)).to.deep.equal(['2', '1'])
    expect(page.total).to.equal(3)
    expect((await listKeys(deps, { tenant, limit: 2, offset: 2 })).rows.map((row) => row.id)).to.deep.equal(ids.slice(2))
    expect(await listKeys(deps, { tenant, limit: 2, offset: 9 })).to.deep.equal({ rows: [], total: 3 })
  })

  describe('by value', () => {
    it('finds the tenant of a key, and the state of the tenant', async () => {
      const tenant = await world.newTenant()
      await world.tenant(tenant, { type: 'ChangeTenantSettings', limits: { requests_per_second: 9 } })
      const { id, key } = await world.newKey(tenant, { scopes: ['write:webhooks'] })
      expect(await findKeyByValue(deps, key, now())).to.deep.equal({
        id,
        tenant,
        scopes: ['write:webhooks'],
        tenant_suspended: false,
        limits: { requests_per_second: 9 },
      })
      await world.tenant(tenant, { type: 'SuspendTenant' })
      expect(await findKeyByValue(deps, key, now())).to.include({ tenant_suspended: true })
      expect(await findKeyByValue(deps, keyValue(), now())).to.equal(null)
      expect(await findKeyByValue(deps, '', now())).to.equal(null)
    })
    it('finds the new value of a rotated key at once, and the former one until its overlap ends', async () => {
      const tenant = await world.newTenant()
      const { id, key: former } = await world.newKey(tenant)
      const key = keyValue()
      await world.key(tenant, id, { type: 'RotateKey', key, previous_key_until: '2026-06-01T00:00:00.000Z' })
      expect(await findKey(deps, tenant, id)).to.include({ key, previous_key: former, previous_key_until: '2026-06-01T00:00:00.000Z' })
      expect(await findKeyByValue(deps, key, '2026-07-01T00:00:00.000Z')).to.include({ id })
      expect(await findKeyByValue(deps, former, '2026-05-31T23:59:59.999Z')).to.include({ id })
      expect(await findKeyByValue(deps, former, '2026-06-01T00:00:00.000Z')).to.equal(null)
      await world.key(tenant, id, { type: 'RotateKey', key: keyValue(), previous_key_until: null })
      expect(await findKeyByValue(deps, key, '2026-05-01T00:00:00.000Z')).to.equal(null)
      expect(await findKeyByValue(deps, former, '2026-05-01T00:00:00.000Z')).to.equal(null)
    })
    it('finds no key by its former value after the key is deleted', async () => {
      const tenant = await world.newTenant()
      const { id, key: former } = await world.newKey(tenant)
      await world.key(tenant, id, { type: 'RotateKey', key: keyValue(), previous_key_until: '2099-01-01T00:00:00.000Z' })
      await world.key(tenant, id, { type: 'DeleteKey', webhooks: 'keep' })
      expect(await findKeyByValue(deps, former, now())).to.equal(null)
    })
  })

  it('skips the keys of an erased tenant, because they cannot be used any more, and continues', async () => {
    const [erased, tenant] = [await world.newTenant(), await world.newTenant()]
    const keys = [await world.newKey(erased), await world.newKey(tenant)]
    const events = (await Promise.all(keys.map(({ id }) => world.store.read(keyStream(id))))).flat()
    const keyring: Keyring = {
      ...world.keyring,
      vault: async (owner) => (owner === erased ? erasedVault(owner) : world.keyring.vault(owner)),
    }
    const projection = apiKeys(keyring)
    const rows = await transaction(world.db.pool, async (client) => {
      await client.query('create schema anew; set local search_path to anew, public')
      await client.query(projection.tables ?? '')
      await projection.apply(sqlOn(client), events, { build: 1, is_live: true, applied_to: null })
      return sqlOn(client)`select id, lookup_hmac from api_keys order by created_at, id`
    })
    const lookup = world.keyring.lookup('api-key', keys[1]!.key)
    expect(rows).to.have.deep.members([
      { id: keys[0]!.id, lookup_hmac: null },
      { id: keys[1]!.id, lookup_hmac: lookup },
    ])
  })
})

describe('key usage', () => {
  let world: World
  let deps: { pool: World['db']['pool']; keyring: World['keyring']; log: Log }
  before(async () => {
    world = await projectionWorld()
    deps = { pool: world.db.pool, keyring: world.keyring, log: silentLog }
  })
  after(() => world.stop())
  const usage = (everyMs = 60_000) => createKeyUsage({ pool: world.db.pool, everyMs, onError() {} })
  const lastUse = async (id: KeyId) => {
    const { rows } = await world.db.pool.query('select last_accessed_at from key_usage where key_id = $1', [id])
    return rows[0]?.last_accessed_at
  }

  it('is shown with the key', async () => {
    const tenant = await world.newTenant()
    const { id } = await world.newKey(tenant)
    const keyUsage = usage()
    keyUsage.touch(id, '2026-01-01T00:00:00.000Z')
    await keyUsage.close()
    expect(await findKey(deps, tenant, id)).to.include({ last_accessed_at: '2026-01-01T00:00:00.000Z', revision: 0 })
    expect((await listKeys(deps, { tenant, limit: 1, offset: 0 })).rows[0]).to.include({ last_accessed_at: '2026-01-01T00:00:00.000Z' })
  })
  it('keeps the latest time, in whatever order processes write', async () => {
    const id = ulid() as KeyId
    const [first, second] = [usage(), usage()]
    first.touch(id, '2026-01-03T00:00:00.000Z')
    first.touch(id, '2026-01-01T00:00:00.000Z')
    second.touch(id, '2026-01-02T00:00:00.000Z')
    await first.close()
    expect(await lastUse(id)).to.equal('2026-01-03T00:00:00.000Z')
    await second.close()
    expect(await lastUse(id)).to.equal('2026-01-03T00:00:00.000Z')
  })
  it('writes many uses in one statement', async () => {
    let statements = 0
    const pool = new Proxy(world.db.pool, {
      get(target, name) {
        if (name === 'query') statements++
        return Reflect.get(target, name).bind(target)
      },
    })
    const keyUsage = createKeyUsage({ pool, everyMs: 60_000, onError() {} })
    const ids = Array.from({ length: 50 }, () => ulid() as KeyId)
    for (let i = 0; i < 1_000; i++) keyUsage.touch(ids[i % 50]!, `2026-01-01T00:00:00.${String(i).padStart(3, '0')}Z`)
    await keyUsage.close()
    expect(statements).to.equal(1)
    expect(await lastUse(ids[49]!)).to.equal('2026-01-01T00:00:00.999Z')
  })
  it('repeats a failed write', async () => {
    const id = ulid() as KeyId
    await world.db.pool.query('alter table key_usage rename to key_usage_away')
    const errors: unknown[] = []
    const keyUsage = createKeyUsage({ pool: world.db.pool, everyMs: 10, onError: (error) => errors.push(error) })
    keyUsage.touch(id, '2026-01-01T00:00:00.000Z')
    await waitFor(() => errors.length > 0)
    await world.db.pool.query('alter table key_usage_away rename to key_usage')
    await keyUsage.close()
    expect(await lastUse(id)).to.equal('2026-01-01T00:00:00.000Z')
  })
})
