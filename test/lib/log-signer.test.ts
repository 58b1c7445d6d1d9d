import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { leafHash } from '../../src/events/leaf.ts'
import { createLogSigner, openHead, readHead } from '../../src/lib/log-signer.ts'
import { createMerkleTree } from '../../src/lib/merkle.ts'

/**
 * A note that the package golang.org/x/mod/sumdb/note (v0.43.0) has signed, and roots of trees whose proofs its package tlog has accepted. The leaf with
 * the index n is the entry `entry n`.
 */
const byGo = JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/log/signed-by-go.json'), 'utf8')) as {
  vkey: string
  note: string
  roots: Record<string, string>
}

describe('the signed heads of the audit log', () => {
  const signer = createLogSigner(randomBytes(32), 'kolbak/01M8QZ3K5T7W9Y1B3D5F7H9J2M')
  const root = randomBytes(32)
  const note = signer.sign({ size: 44, root })

  it('are accepted under the key of the log', () => {
    expect(openHead(note, signer.vkey)).to.deep.equal({ origin: signer.origin, size: 44, root })
    expect(signer.sign({ size: 44, root })).to.equal(note)
  })
  it('are refused if any byte was changed, or if another key or another log has signed them', () => {
    for (let i = 0; i < note.length; i++) {
      const changed = `${note.slice(0, i)}${note[i] === 'A' ? 'B' : 'A'}${note.slice(i + 1)}`
      const head = openHead(changed, signer.vkey)
      // The last characters of base64 may have bits that mean nothing.
      if (head !== null) expect(head, `byte ${i}`).to.deep.equal({ origin: signer.origin, size: 44, root })
    }
    expect(openHead(note, createLogSigner(randomBytes(32), signer.origin).vkey)).to.equal(null)
    expect(openHead(createLogSigner(randomBytes(32), 'kolbak/other').sign({ size: 44, root }), signer.vkey)).to.equal(null)
    for (const text of ['', 'x', '\n\n\n', note.slice(0, 40), 'a\n1\nx\n\n— a b\n']) expect(readHead(text)).to.equal(null)
  })
  it('are accepted when the package of Go has signed them, and have the roots that Go computes', () => {
    expect(openHead(byGo.note, byGo.vkey)).to.include({ origin: 'kolbak/go', size: 600 })
    const tree = createMerkleTree()
    for (let n = 0; n < 600; n++) {
      tree.push(leafHash(`entry ${n}`))
      const expected = byGo.roots[String(tree.size)]
      if (expected !== undefined) expect(tree.root().toString('base64')).to.equal(expected)
    }
  })
})
