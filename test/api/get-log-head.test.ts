import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { createCosigner, createLogSigner, openHead } from '../../src/lib/log-signer.ts'
import { storeCosignature, storeHead } from '../../src/projections/log-heads.ts'
import { startApi, type TestApi, type TestClient } from '../support/api.ts'

describe('GET /v1/log', () => {
  let api: TestApi
  let auditor: TestClient
  const signer = createLogSigner(randomBytes(32), 'kolbak/01M8QZ3K5T7W9Y1B3D5F7H9J2M')
  before(async () => {
    api = await startApi({ replace: () => ({ logKey: async () => signer.vkey }) })
    auditor = await api.tenant()
  })
  after(() => api.stop())
  const read = () => api.call('GET', '/v1/log', { as: auditor })

  it('returns 404 before the first head, and if the key of the log has not signed the head', async () => {
    const first = await read()
    expect(first.status).to.equal(404)
    expect(first.headers.get('retry-after')).to.equal('10')
    const other = createLogSigner(randomBytes(32), signer.origin)
    const root = randomBytes(32)
    await storeHead(api.db.pool, { origin: signer.origin, size: 4, root, note: other.sign({ size: 4, root }) })
    expect((await read()).status).to.equal(404)
  })
  it('returns 200 with the newest head and the key that verifies it', async () => {
    for (const size of [5, 44, 17]) {
      const root = randomBytes(32)
      await storeHead(api.db.pool, { origin: signer.origin, size, root, note: signer.sign({ size, root }) })
    }
    const { status, body } = await read()
    expect(status).to.equal(200)
    const { data } = body as { data: { origin: string; size: number; root: string; note: string; key: string } }
    expect(data).to.include({ origin: signer.origin, size: 44, key: signer.vkey })
    expect(openHead(data.note, data.key)?.root.toString('base64')).to.equal(data.root)
  })
  it('returns the newest head that a witness has signed', async () => {
    const before = await read()
    expect((before.body as { data: { cosigned: string | null } }).data.cosigned).to.equal(null)
    const head = { origin: signer.origin, size: 17, root: randomBytes(32) }
    const line = createCosigner(randomBytes(32), 'w1').cosign(signer.sign(head), 1_700_000_000)
    await storeCosignature(api.db.pool, head, line)
    const { data } = (await read()).body as { data: { size: number; cosigned: string } }
    expect(data.size).to.equal(44)
    expect(data.cosigned.endsWith(`\n${line}`)).to.equal(true)
    expect(openHead(data.cosigned, signer.vkey)?.size).to.equal(17)
  })
  it('returns 403 without the scope read:audit', async () => {
    const { status } = await api.call('GET', '/v1/log', { as: await api.tenant(['read:events']) })
    expect(status).to.equal(403)
  })
})
