import { hash } from 'node:crypto'

/*
 * Merkle trees by RFC 6962, 2.1. A tree grows at its right side. Its frontier is the list of the roots of its perfect subtrees, from the largest to
 * the smallest: one for each bit of its size. The frontier is all that is needed to add leaves and to compute the root.
 */

const nodePrefix = Buffer.from([1])
const emptyRoot = hash('sha256', '', 'buffer')
const nodeHash = (left: Buffer, right: Buffer): Buffer => hash('sha256', Buffer.concat([nodePrefix, left, right]), 'buffer')

/** A tree that grows. */
export interface MerkleTree {
  readonly size: number
  readonly frontier: readonly Buffer[]
  /**
   * Adds a leaf.
   * @param leaf the hash of the leaf
   * @param onPerfect called for each perfect subtree that the leaf completes, with its height and its index at that height
   */
  push(leaf: Buffer, onPerfect?: (height: number, index: number, root: Buffer) => void): void
  root(): Buffer
}

/** Continues a tree of this size. By default the tree is empty. */
export function createMerkleTree(size = 0, frontier: readonly Buffer[] = []): MerkleTree {
  let leaves = size
  const roots = [...frontier]
  return {
    get size() {
      return leaves
    },
    get frontier() {
      return roots
    },
    push(leaf, onPerfect) {
      let root = leaf
      let height = 0
      let index = leaves
      for (; index % 2 === 1; index = (index - 1) / 2) {
        root = nodeHash(roots.pop()!, root)
        height++
        onPerfect?.(height, (index - 1) / 2, root)
      }
      roots.push(root)
      leaves++
    },
    root: () => rootOf(roots),
  }
}

/** Returns the root of a tree with this frontier. */
export const rootOf = (frontier: readonly Buffer[]): Buffer =>
  frontier.length === 0 ? emptyRoot : frontier.reduceRight((right, left) => nodeHash(left, right))

/** Returns the root of a tree with these leaves. */
export function rootOfLeaves(leaves: Iterable<Buffer>): Buffer {
  const tree = createMerkleTree()
  for (const leaf of leaves) tree.push(leaf)
  return tree.root()
}

/** Reads hashes of a stored tree: the root of the perfect subtree of `2 ** height` leaves with this index, for heights that are multiples of 8. */
export type ReadNodes = (height: number, first: number, count: number) => Promise<readonly Buffer[]>

/** Returns the nodes of a tree with these leaves, which are all in memory. */
export function nodesOf(leaves: readonly Buffer[]): ReadNodes {
  const levels = new Map<number, Buffer[]>([[0, [...leaves]]])
  const tree = createMerkleTree()
  for (const leaf of leaves)
    tree.push(leaf, (height, _, root) => {
      if (height % 8 !== 0) return
      const level = levels.get(height) ?? []
      levels.set(height, level)
      level.push(root)
    })
  return async (height, first, count) => (levels.get(height) ?? []).slice(first, first + count)
}

/** The error for a stored tree that lacks nodes which a root needs. */
export class MissingNodes extends Error {}

/** Returns the root of the perfect subtree at a height, from stored nodes. Throws MissingNodes. */
async function perfectRoot(read: ReadNodes, height: number, index: number): Promise<Buffer> {
  const above = height % 8
  const nodes = await read(height - above, index * 2 ** above, 2 ** above)
  if (nodes.length !== 2 ** above) throw new MissingNodes(`the tree lacks nodes at height ${height - above}`)
  return rootOfLeaves(nodes)
}

/** Returns the root that the tree had at an earlier size. It reads at most 255 nodes at each of its levels. Throws MissingNodes. */
export async function rootAt(read: ReadNodes, size: number): Promise<Buffer> {
  const roots: Buffer[] = []
  let start = 0
  for (let height = Math.floor(Math.log2(Math.max(1, size))) + 1; height >= 0; height--) {
    const width = 2 ** height
    if (start + width > size) continue
    roots.push(await perfectRoot(read, height, start / width))
    start += width
  }
  return rootOf(roots)
}

/** Returns the greatest power of two below `size`, where a tree of this size is split. */
const splitOf = (size: number): number => 2 ** Math.ceil(Math.log2(size) - 1)

/** Returns the root of the `size` leaves from `start` on. */
async function rangeRoot(read: ReadNodes, start: number, size: number): Promise<Buffer> {
  if (Number.isInteger(Math.log2(size))) return perfectRoot(read, Math.log2(size), start / size)
  const split = splitOf(size)
  return nodeHash(await rangeRoot(read, start, split), await rangeRoot(read, start + split, size - split))
}

/** Returns the proof (RFC 6962, 2.1.1) that the leaf with this index is in the tree of this size. */
export async function inclusionProof(read: ReadNodes, index: number, size: number, start = 0): Promise<Buffer[]> {
  if (size === 1) return []
  const split = splitOf(size)
  return index < split
    ? [...(await inclusionProof(read, index, split, start)), await rangeRoot(read, start + split, size - split)]
    : [...(await inclusionProof(read, index - split, size - split, start + split)), await rangeRoot(read, start, split)]
}

/** Returns the root that follows from a leaf and its proof, or null if the proof has the wrong length. */
export function rootFromInclusion(leaf: Buffer, index: number, size: number, proof: readonly Buffer[]): Buffer | null {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return null
  if (size === 1) return proof.length === 0 ? leaf : null
  const last = proof.at(-1)
  if (last === undefined) return null
  const split = splitOf(size)
  const innerProof = proof.slice(0, -1)
  const inner =
    index < split ? rootFromInclusion(leaf, index, split, innerProof) : rootFromInclusion(leaf, index - split, size - split, innerProof)
  if (inner === null) return null
  return index < split ? nodeHash(inner, last) : nodeHash(last, inner)
}

/** Returns the proof (RFC 6962, 2.1.2) that the tree of size `to` extends the tree of size `from`, which must not be 0. */
export function consistencyProof(read: ReadNodes, from: number, to: number): Promise<Buffer[]> {
  return from === to ? Promise.resolve([]) : subproof(read, from, 0, to, true)
}
async function subproof(read: ReadNodes, from: number, start: number, size: number, isWhole: boolean): Promise<Buffer[]> {
  if (from === size) return isWhole ? [] : [await rangeRoot(read, start, size)]
  const split = splitOf(size)
  return from <= split
    ? [...(await subproof(read, from, start, split, isWhole)), await rangeRoot(read, start + split, size - split)]
    : [...(await subproof(read, from - split, start + split, size - split, false)), await rangeRoot(read, start, split)]
}

/** Returns whether a proof (RFC 9162, 2.1.4.2) shows that the larger tree begins with all leaves of the smaller one, which must not be empty. */
export function isConsistent(smaller: SizedRoot, larger: SizedRoot, proof: readonly Buffer[]): boolean {
  if (smaller.size === 0 || smaller.size > larger.size) return false
  if (smaller.size === larger.size) return proof.length === 0 && smaller.root.equals(larger.root)
  const [first, ...others] = Number.isInteger(Math.log2(smaller.size)) ? [smaller.root, ...proof] : proof
  if (first === undefined) return false
  let [node, last] = [smaller.size - 1, larger.size - 1]
  const shift = () => {
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  while (node % 2 === 1) shift()
  let [oldRoot, newRoot] = [first, first]
  for (const sibling of others) {
    if (last === 0) return false
    if (node % 2 === 1 || node === last) {
      oldRoot = nodeHash(sibling, oldRoot)
      newRoot = nodeHash(sibling, newRoot)
      while (node % 2 === 0 && node !== 0) shift()
    } else newRoot = nodeHash(newRoot, sibling)
    shift()
  }
  return last === 0 && oldRoot.equals(smaller.root) && newRoot.equals(larger.root)
}
interface SizedRoot {
  readonly size: number
  readonly root: Buffer
}
