import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { consistencyProof, inclusionProof, nodesOf } from '../../src/lib/merkle.ts'

interface Head {
  readonly size: number
  readonly root: Buffer
}
interface Verifier {
  leafHash(entry: string): Buffer
  rootFromInclusion(leaf: Buffer, index: number, size: number, path: readonly Buffer[]): Buffer | null
  isConsistent(smaller: Head, larger: Head, path: readonly Buffer[]): boolean
  openHead(note: string, key: string): Head
}
/** Heads and proofs that golang.org/x/mod/sumdb (note and tlog, v0.43.0) has made. The leaf with the index n is the entry `entry n`. */
const byGo = JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/log/proofs-by-go.json'), 'utf8')) as {
  vkey: string
  heads: Record<string, string>
  inclusion: readonly { index: number; size: number; path: readonly string[] }[]
  consistency: readonly { from: number; to: number; path: readonly string[] }[]
}
const hashesIn = (path: readonly string[]): Buffer[] => path.map((hash) => Buffer.from(hash, 'base64'))
const textsOf = (path: readonly Buffer[]) => path.map((hash) => hash.toString('base64'))

describe('docs/verify.mjs, with heads and proofs that Go has made', () => {
  let verifier: Verifier
  let headOf: (size: number) => Head
  const leafOf = (n: number) => verifier.leafHash(`entry ${n}`)
  before(async () => {
    verifier = await import(join(import.meta.dirname, '../../docs/verify.mjs'))
    headOf = (size) => verifier.openHead(byGo.heads[String(size)]!, byGo.vkey)
  })
  const includes = (leaf: Buffer, index: number, size: number, path: readonly Buffer[], { root }: Head) =>
    verifier.rootFromInclusion(leaf, index, size, path)?.equals(root) === true

  it('accepts them, and Kolbak makes the same proofs', async () => {
    const nodes = nodesOf(Array.from({ length: 600 }, (_, n) => leafOf(n)))
    for (const { index, size, path } of byGo.inclusion) {
      expect(includes(leafOf(index), index, size, hashesIn(path), headOf(size)), `${index} of ${size}`).to.equal(true)
      expect(textsOf(await inclusionProof(nodes, index, size)), `${index} of ${size}`).to.deep.equal(path)
    }
    for (const { from, to, path } of byGo.consistency) {
      expect(verifier.isConsistent(headOf(from), headOf(to), hashesIn(path)), `${from} to ${to}`).to.equal(true)
      expect(textsOf(await consistencyProof(nodes, from, to)), `${from} to ${to}`).to.deep.equal(path)
    }
  })
  it('accepts no other leaf, index, size or path', () => {
    for (const { index, size, path } of byGo.inclusion) {
      const hashes = hashesIn(path)
      const head = headOf(size)
      expect(includes(leafOf(index + 1), index, size, hashes, head)).to.equal(false)
      expect(includes(leafOf(index), index, size, [...hashes, leafOf(1)], head)).to.equal(false)
      for (const other of [index - 1, index + 1, -1, 0.5, Number.NaN].filter((n) => n !== index))
        expect(includes(leafOf(index), other, size, hashes, head), `${index} as ${other} of ${size}`).to.equal(false)
      for (const [i] of hashes.entries()) {
        expect(includes(leafOf(index), index, size, hashes.toSpliced(i, 1), head)).to.equal(false)
        expect(includes(leafOf(index), index, size, hashes.with(i, leafOf(9_999)), head)).to.equal(false)
      }
    }
  })
  it('accepts no other root and no other path between two heads', () => {
    for (const { from, to, path } of byGo.consistency) {
      const hashes = hashesIn(path)
      const [smaller, larger] = [headOf(from), headOf(to)]
      expect(verifier.isConsistent(smaller, larger, [...hashes, leafOf(1)])).to.equal(false)
      expect(verifier.isConsistent({ ...smaller, root: leafOf(0) }, { ...larger, root: leafOf(1) }, hashes)).to.equal(false)
      if (from !== to) expect(verifier.isConsistent(larger, smaller, hashes)).to.equal(false)
      for (const [i] of hashes.entries()) {
        expect(verifier.isConsistent(smaller, larger, hashes.toSpliced(i, 1))).to.equal(false)
        expect(verifier.isConsistent(smaller, larger, hashes.with(i, leafOf(9_999)))).to.equal(false)
      }
    }
  })
})
