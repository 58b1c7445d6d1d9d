import { createHash } from 'node:crypto'
import { expect } from 'chai'
import {
  consistencyProof,
  createMerkleTree,
  inclusionProof,
  type ReadNodes,
  rootAt,
  rootFromInclusion,
  rootOfLeaves,
} from '../../src/lib/merkle.ts'

const leafOf = (n: number) =>
  createHash('sha256')
    .update(Buffer.from([0]))
    .update(String(n))
    .digest()
/** Computes a root as RFC 6962, 2.1, defines it. */
const reference = (leaves: readonly Buffer[]): Buffer => {
  if (leaves.length === 0) return createHash('sha256').digest()
  if (leaves.length === 1) return leaves[0]!
  let split = 1
  while (split * 2 < leaves.length) split *= 2
  return createHash('sha256')
    .update(Buffer.from([1]))
    .update(reference(leaves.slice(0, split)))
    .update(reference(leaves.slice(split)))
    .digest()
}

describe('a Merkle tree', () => {
  const size = 700
  const leaves = Array.from({ length: size }, (_, n) => leafOf(n))
  const nodes = new Map<string, Buffer>()
  const roots: Buffer[] = [reference([])]
  before(() => {
    const tree = createMerkleTree()
    for (const [i, leaf] of leaves.entries()) {
      nodes.set(`0/${i}`, leaf)
      tree.push(leaf, (height, index, root) => {
        if (height % 8 === 0) nodes.set(`${height}/${index}`, root)
      })
      roots.push(tree.root())
    }
  })
  const read: ReadNodes = async (height, first, count) =>
    Array.from({ length: count }, (_, i) => nodes.get(`${height}/${first + i}`)).filter((node) => node !== undefined)

  it('has the root that RFC 6962 defines, at every size', () => {
    for (const n of [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 700])
      expect(roots[n], String(n)).to.deep.equal(reference(leaves.slice(0, n)))
    expect(rootOfLeaves(leaves)).to.deep.equal(roots[size])
  })
  it('has the root of an earlier size, which follows from the stored nodes alone', async () => {
    for (let n = 0; n <= size; n += 13) expect(await rootAt(read, n), String(n)).to.deep.equal(roots[n])
    for (const n of [1, 255, 256, 257, 512, 700]) expect(await rootAt(read, n), String(n)).to.deep.equal(roots[n])
  })
  it('is continued from its size and its frontier', () => {
    const half = createMerkleTree()
    for (const leaf of leaves.slice(0, 300)) half.push(leaf)
    const other = createMerkleTree(half.size, half.frontier)
    for (const leaf of leaves.slice(300)) other.push(leaf)
    expect(other.root()).to.deep.equal(roots[size])
  })
  it('proves that a leaf is in it, and accepts no other leaf, index, size or proof', async () => {
    for (const [index, of] of [
      [0, 1],
      [0, 700],
      [255, 256],
      [256, 700],
      [699, 700],
      [300, 513],
    ] as const) {
      const proof = await inclusionProof(read, index, of)
      const verify = (leaf: Buffer, at: number, total: number, path: readonly Buffer[]) =>
        rootFromInclusion(leaf, at, total, path)?.equals(roots[of]!) === true
      expect(verify(leaves[index]!, index, of, proof), `${index}/${of}`).to.equal(true)
      expect(verify(leafOf(9_999), index, of, proof)).to.equal(false)
      expect(verify(leaves[index]!, index, of, [...proof, leafOf(1)])).to.equal(false)
      if (proof.length > 0) {
        expect(verify(leaves[index]!, index, of, proof.slice(1))).to.equal(false)
        expect(verify(leaves[index]!, index === 0 ? 1 : index - 1, of, proof)).to.equal(false)
      }
    }
  })
  it('has a consistency proof of the length that RFC 6962 defines', async () => {
    expect(await consistencyProof(read, 256, 700)).to.have.length(2)
    expect(await consistencyProof(read, 700, 700)).to.deep.equal([])
  })
})
