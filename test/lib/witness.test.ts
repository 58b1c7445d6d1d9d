import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { startWitness, type Witness } from '../../src/cli/witness.ts'
import { leafHash } from '../../src/events/leaf.ts'
import { cosignedAt, createLogSigner } from '../../src/lib/log-signer.ts'
import { consistencyProof, nodesOf, rootAt } from '../../src/lib/merkle.ts'

describe('a witness', () => {
  const signer = createLogSigner(randomBytes(32), 'kolbak/witnessed')
  const nodes = nodesOf(Array.from({ length: 300 }, (_, n) => leafHash(`entry ${n}`)))
  let folder: string
  let witness: Witness
  const options = () => ({ logs: [signer.vkey], folder, name: 'w1', host: '127.0.0.1', port: 0 })
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kolbak-witness-'))
    witness = await startWitness(options())
  })
  after(async () => {
    await witness.close()
    await rm(folder, { recursive: true })
  })
  const headOf = async (size: number) => signer.sign({ size, root: await rootAt(nodes, size) })
  const post = async (body: string) => {
    const response = await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body })
    return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
  }
  const submit = async (old: number, size: number, note?: string) => {
    const proof = old === 0 || old > size ? [] : await consistencyProof(nodes, old, size)
    return post(`old ${old}\n${proof.map((hash) => `${hash.toString('base64')}\n`).join('')}\n${note ?? (await headOf(size))}`)
  }

  it('signs the first head of a log, and each one that extends the last', async () => {
    for (const [old, size] of [
      [0, 5],
      [5, 5],
      [5, 256],
      [256, 300],
    ] as const) {
      const { status, body } = await submit(old, size)
      expect(status, `${old} to ${size}: ${body}`).to.equal(200)
      const note = (await headOf(size)) + body
      expect(cosignedAt(note, witness.vkey)).to.be.closeTo(Date.now() / 1_000, 60)
      expect(cosignedAt(note.replace(`\n${size}\n`, `\n${size + 1}\n`), witness.vkey)).to.equal(null)
      expect(cosignedAt(await headOf(size), witness.vkey)).to.equal(null)
    }
  })
  it('says which head it has signed last, also after a restart', async () => {
    await witness.close()
    const { vkey } = witness
    witness = await startWitness(options())
    expect(witness.vkey).to.equal(vkey)
    expect(await submit(0, 300)).to.deep.equal({ status: 409, type: 'text/x.tlog.size', body: '300\n' })
    expect(await (await fetch(witness.url)).text()).to.equal(`${vkey}\nkolbak/witnessed 300\n`)
  })
  it('refuses a log that was changed, cut, or signed by somebody else', async () => {
    const other = createLogSigner(randomBytes(32), signer.origin)
    const unknown = createLogSigner(randomBytes(32), 'kolbak/unknown')
    const head = { size: 300, root: randomBytes(32) }
    expect((await submit(300, 300, signer.sign(head))).status).to.equal(409)
    expect((await submit(256, 256)).status).to.equal(409)
    expect((await submit(300, 256)).status).to.equal(400)
    expect((await submit(300, 300, other.sign(head))).status).to.equal(403)
    expect((await submit(300, 300, unknown.sign(head))).status).to.equal(404)
    expect(
      (await post(`old 300\n${randomBytes(32).toString('base64')}\n\n${signer.sign({ size: 301, root: randomBytes(32) })}`)).status,
    ).to.equal(422)
    expect((await post(`old 300\n\n${signer.sign({ size: 301, root: randomBytes(32) })}`)).status).to.equal(422)
  })
  it('refuses a text that is no request', async () => {
    for (const body of [
      '',
      'old 1',
      'old -1\n\n',
      `old 01\n\n${await headOf(300)}`,
      `old 300\nx\n\n${await headOf(300)}`,
      'old 300\n\nx\n',
    ])
      expect((await post(body)).status, JSON.stringify(body.slice(0, 20))).to.equal(400)
    expect((await post('x'.repeat(20_000))).status).to.equal(413)
    expect((await fetch(`${witness.url}/other`)).status).to.equal(404)
  })
  it('signs only one of two heads that are sent at the same time', async () => {
    const statuses = await Promise.all([submit(300, 300), submit(300, 300, signer.sign({ size: 300, root: randomBytes(32) }))])
    expect(statuses.map(({ status }) => status).sort()).to.deep.equal([200, 409])
  })
})
