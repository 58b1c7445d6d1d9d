#!/usr/bin/env node
/*
 * Checks proofs of Kolbak's audit log without Kolbak. This one file needs nothing but Node 20 or newer:
 *
 *   node verify.mjs <proof or export> [<head> ...] [--key <key of the log>] [--witness <key of a witness>]
 *
 * A proof is a file of `kolbak audit prove`, and an export is a folder of `kolbak audit export`. A head is a file with a signed note that you kept, or a
 * copy of the anchor file. docs/audit.md explains them.
 *
 * The exit code is 0 if everything is proven. It is 1 if something is not proven, and 2 if a file could not be read.
 */
import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'

const proofFormat = 'kolbak-proof/1'
const genuineTitle = 'kolbak-genuine/1'
const exportFormat = 'kolbak-export/1'
/** The bytes before an Ed25519 key in SPKI (RFC 8410). */
const spki = Buffer.from('302a300506032b6570032100', 'hex')
const [ed25519, ofWitness] = [1, 4]

class NotProven extends Error {}
const refuse = (why) => {
  throw new NotProven(why)
}

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest()
/** Returns the hash of an entry (RFC 6962, 2.1). */
export const leafHash = (entry) => sha256(Buffer.from([0]), Buffer.from(entry))
const nodeHash = (left, right) => sha256(Buffer.from([1]), left, right)

/** Returns the bytes of base64 text. Refuses any text that is not exactly what an encoder writes. */
function bytesOf(text, length) {
  const bytes = Buffer.from(String(text), 'base64')
  if (bytes.toString('base64') !== text || (length !== undefined && bytes.length !== length))
    refuse('A hash or a key is not written as base64.')
  return bytes
}
const isSize = (value) => Number.isSafeInteger(value) && value >= 0

/** Returns the root that follows from a leaf and its path (RFC 9162, 2.1.3.2), or null. */
export function rootFromInclusion(leaf, index, size, path) {
  if (!(isSize(index) && isSize(size) && index < size)) return null
  let [node, last, root] = [index, size - 1, leaf]
  for (const sibling of path) {
    if (last === 0) return null
    if (node % 2 === 1 || node === last) {
      root = nodeHash(sibling, root)
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)]
    } else root = nodeHash(root, sibling)
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 ? root : null
}

/** Returns whether the path proves that the larger tree begins with all leaves of the smaller one (RFC 9162, 2.1.4.2). */
export function isConsistent(smaller, larger, path) {
  if (!(isSize(smaller.size) && isSize(larger.size)) || smaller.size === 0 || smaller.size > larger.size) return false
  if (smaller.size === larger.size) return path.length === 0 && smaller.root.equals(larger.root)
  const isPerfect = Number.isInteger(Math.log2(smaller.size))
  const [first, ...others] = isPerfect ? [smaller.root, ...path] : path
  if (first === undefined) return false
  let [node, last] = [smaller.size - 1, larger.size - 1]
  while (node % 2 === 1) [node, last] = [(node - 1) / 2, Math.floor(last / 2)]
  let [oldRoot, newRoot] = [first, first]
  for (const sibling of others) {
    if (last === 0) return false
    if (node % 2 === 1 || node === last) {
      oldRoot = nodeHash(sibling, oldRoot)
      newRoot = nodeHash(sibling, newRoot)
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)]
    } else newRoot = nodeHash(newRoot, sibling)
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 && oldRoot.equals(smaller.root) && newRoot.equals(larger.root)
}

/** Returns the text of a note (https://c2sp.org/signed-note) that this key has signed. The signatures of others are not checked. */
export function openNote(note, key) {
  const [, name, id, encoded] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(String(key)) ?? refuse('The key of the log has another form.')
  const bytes = bytesOf(encoded, 33)
  const keyId = sha256(Buffer.from(`${name}\n`), bytes).subarray(0, 4)
  if (bytes[0] !== ed25519 || keyId.toString('hex') !== id) refuse('The key of the log is damaged.')
  const [, text, signatures] = /^([\s\S]*\n)\n((?:— \S+ \S+\n)+)$/.exec(String(note)) ?? refuse('A signed note has another form.')
  const signed = signatures
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, signer]) => signer === name)
    .map(([, , signature]) => bytesOf(signature))
    .find((signature) => signature.length === 68 && signature.subarray(0, 4).equals(keyId))
  if (signed === undefined) refuse(`A note was not signed by the key ${key}.`)
  const publicKey = createPublicKey({ key: Buffer.concat([spki, bytes.subarray(1)]), format: 'der', type: 'spki' })
  if (!verifySignature(null, Buffer.from(text), publicKey, signed.subarray(4))) refuse('A signature is wrong.')
  return { name, text }
}
/** Returns when a witness has signed a note (https://c2sp.org/tlog-cosignature), in seconds since 1970, or null. */
export function cosignedAt(note, key) {
  const [, name, id, encoded] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(String(key)) ?? refuse('The key of the witness has another form.')
  const bytes = bytesOf(encoded, 33)
  const keyId = sha256(Buffer.from(`${name}\n`), bytes).subarray(0, 4)
  if (bytes[0] !== ofWitness || keyId.toString('hex') !== id) refuse('The key of the witness is damaged.')
  const publicKey = createPublicKey({ key: Buffer.concat([spki, bytes.subarray(1)]), format: 'der', type: 'spki' })
  const end = note.lastIndexOf('\n\n')
  for (const [, signer, signature] of note
    .slice(end + 2)
    .split('\n')
    .map((line) => line.split(' '))) {
    if (signer !== name) continue
    const signed = bytesOf(signature)
    if (signed.length !== 76 || !signed.subarray(0, 4).equals(keyId)) continue
    const time = Number(signed.readBigUInt64BE(4))
    const text = `cosignature/v1\ntime ${time}\n${note.slice(0, end + 1)}`
    if (verifySignature(null, Buffer.from(text), publicKey, signed.subarray(12))) return time
  }
  return null
}

/** Returns the head in a note that this key has signed: the number of leaves and the root of the log. */
export function openHead(note, key) {
  const { name, text } = openNote(note, key)
  const [, origin, size, root] = /^(\S+)\n(0|[1-9]\d{0,15})\n(\S+)\n$/.exec(text) ?? refuse('A head has another form.')
  if (origin !== name) refuse(`A head of ${origin} was signed by ${name}.`)
  return { origin, size: Number(size), root: bytesOf(root, 32) }
}

/** Returns the proof in a file. Any other text than the one that Kolbak wrote is refused, so that no byte of the file is without meaning. */
function readProof(bytes) {
  const text = bytes.toString()
  let proof
  try {
    proof = JSON.parse(text)
  } catch {
    refuse('The file is no JSON.')
  }
  if (proof?.format !== proofFormat) refuse(`The file is no proof of the format ${proofFormat}.`)
  if (!Buffer.from(`${JSON.stringify(proof, null, 2)}\n`).equals(bytes)) refuse('The file is not written as Kolbak writes it.')
  const { entries, disclosed, consistency, absent, ...others } = proof
  if (absent !== undefined && !/^tenant,message,webhook(,listed)?$/.test(Object.keys(absent).join()))
    refuse('The file has another form than a proof of absence.')
  if (Object.keys(others).sort().join() !== 'format,genuine,head,key') refuse('The file has other members than a proof.')
  if (![entries, disclosed, consistency].every(Array.isArray)) refuse('The file has members of another type than a proof.')
  return proof
}
const pathOf = (path) => (Array.isArray(path) ? path.map((hash) => bytesOf(hash, 32)) : refuse('A path is no list of hashes.'))

/** Checks one proof. Returns its head, its entries, and the other heads with which the log is shown to be consistent. Throws NotProven. */
function checkProof({ key, head: note, entries, disclosed, consistency, genuine, absent }) {
  const head = openHead(note, key)
  const facts = []
  const leaves = []
  for (const { entry, index, path, batch, ...others } of entries) {
    if (Object.keys(others).length > 0) refuse('An entry has other members than an entry of a proof.')
    const leaf = leafHash(entry)
    const [kind, ...parts] = JSON.parse(entry)
    const root = (size) => rootFromInclusion(leaf, index, size, pathOf(path))
    if (kind === 'command/1' && batch === undefined) {
      const [stream, revision, id, type, data, metadata] = parts
      if (root(head.size)?.equals(head.root) !== true) refuse(`The log does not contain ${stream}@${revision} at index ${index}.`)
      leaves.push(leaf.toString('hex'))
      facts.push({ kind, index, leaf, stream, revision, id, type, data, metadata, values: {} })
    } else if (kind === 'day/1') {
      const [stream, id, type, data, metadata] = parts
      const sealed = facts[batch]
      if (sealed?.type !== 'BatchSealed' || !sealed.stream.startsWith('log-')) refuse(`The event ${id} names no batch.`)
      if (root(sealed.data.count)?.toString('base64') !== sealed.data.root) refuse(`The batch does not contain the event ${id}.`)
      facts.push({ kind, stream, id, type, data, metadata, batch: sealed, values: {} })
    } else refuse('An entry is of another kind.')
  }
  if (leaves.length > 0) {
    if (openNote(genuine, key).text !== `${genuineTitle}\n${leaves.join('\n')}\n`)
      refuse('The log does not confirm that it has written these events.')
  } else if (genuine !== null) refuse('The proof confirms events that it does not contain.')
  for (const { entry, field, blinding, value, ...others } of disclosed) {
    const fact = facts[entry]
    const commitment = createHash('sha256')
      .update(JSON.stringify([field, blinding, value]))
      .digest('base64url')
    if (
      Object.keys(others).length > 0 ||
      !Object.hasOwn(fact?.metadata.commits ?? {}, field) ||
      fact.metadata.commits[field] !== commitment
    )
      refuse(`The disclosed ${field} is not the value that was logged.`)
    fact.values[field] = value
  }
  const others = consistency.map(({ head: otherNote, path, ...more }) => {
    const other = openHead(otherNote, key)
    if (Object.keys(more).length > 0 || !isConsistent(other, head, pathOf(path)))
      refuse(`The log of ${head.size} leaves does not extend the head of ${other.size} leaves.`)
    return other
  })
  return { key, head, facts, others, lines: absent === undefined ? [] : absenceOf(facts, absent) }
}

/** Checks that a message was not routed to a webhook. Returns sentences that say so, and why. Throws NotProven. */
function absenceOf(facts, { tenant, message, webhook, listed }) {
  const routings = facts.filter(
    ({ kind, type, metadata }) => kind === 'day/1' && /^Messages?Routed$/.test(type) && metadata.tenant === tenant,
  )
  const routed = routings.flatMap(({ type, data, metadata }) =>
    (type === 'MessagesRouted' ? data.messages.map((one) => ({ part: 0, parts: 1, ...one })) : [data])
      .filter((one) => one.message === message)
      .map((one) => ({ ...one, time: metadata.time })),
  )
  const [first] = routed
  if (first === undefined) refuse(`The proof does not contain the routing of the message ${message}.`)
  const parts = new Set(routed.filter(({ place }) => place === first.place).map(({ part }) => part))
  if (parts.size !== first.parts) refuse(`The proof does not contain all parts of the routing of the message ${message}.`)
  if (routed.some(({ webhooks }) => webhooks.includes(webhook))) refuse(`The message ${message} was routed to the webhook ${webhook}.`)
  const changes = facts.filter(({ kind, stream }) => kind === 'command/1' && stream === `webhook-${webhook}`)
  if (changes.length === 0 || changes.some(({ revision, metadata }, i) => revision !== i || metadata.tenant !== tenant))
    refuse(`The proof does not contain all changes of the webhook ${webhook} up to the routing.`)
  const time = routed
    .map((one) => one.time)
    .sort()
    .at(-1)
  const count = new Set(routed.flatMap(({ webhooks }) => webhooks)).size
  const next = changes.find(({ metadata }) => metadata.time > time)
  if (listed !== undefined) checkListed(facts, listed, { tenant, last: changes.at(-1), routings })
  const ending =
    next === undefined
      ? listed === undefined
        ? 'By the word of Kolbak, it has no later change.'
        : `It had no later change when the log listed the last change of each webhook, at ${facts[listed.entry].metadata.time}.`
      : `Its next change is revision ${next.revision}, at ${next.metadata.time}.`
  return [
    `The message ${message} (event ${first.event}) was routed at ${time} to ${count} webhook${count === 1 ? '' : 's'}, and the webhook ${webhook} is not one of them.`,
    `At that time, the webhook ${whyNot(
      changes.filter(({ metadata }) => metadata.time <= time),
      first.event,
    )}. ${ending}`,
  ]
}
const streamLeaf = (stream, revision, leaf) => leafHash(JSON.stringify(['stream/1', stream, revision, leaf.toString('base64')]))
const tenantLeaf = (tenant, streams, root) => leafHash(JSON.stringify(['tenant/1', tenant, streams, root.toString('base64')]))

/** Checks that a list of all streams names this event as the last one of its stream, and was made after the routing. Throws NotProven. */
function checkListed(facts, { entry, streams, stream, tenant: place, ...others }, { tenant, last, routings }) {
  const areKeys = [stream, place].every((one) => Object.keys(one ?? {}).join() === 'index,path')
  if (Object.keys(others).length > 0 || !areKeys) refuse('The file has another form than a proof of absence.')
  const list = facts[entry]
  if (list?.type !== 'StreamsListed' || !list.stream.startsWith('log-')) refuse('The proof names no list of streams.')
  if (routings.some(({ batch }) => batch.index >= list.data.size)) refuse('The list of streams was made before the message was routed.')
  const root = rootFromInclusion(streamLeaf(last.stream, last.revision, last.leaf), stream.index, streams, pathOf(stream.path))
  const rootOfAll = root && rootFromInclusion(tenantLeaf(tenant, streams, root), place.index, list.data.tenants, pathOf(place.path))
  if (rootOfAll?.toString('base64') !== list.data.root)
    refuse(`The list of streams does not end ${last.stream} with revision ${last.revision}.`)
}

/** Returns why a webhook with these changes does not get an event of this name. */
function whyNot(changes, event) {
  let state = null
  for (const { type, data } of changes)
    if (type === 'WebhookCreated') state = { event: data.event, is_active: data.is_active ?? true }
    else if (type === 'WebhookChanged') state = { ...state, ...(data.event === undefined ? {} : { event: data.event }) }
    else if (type === 'WebhookActivated') state = { ...state, is_active: true }
    else if (type === 'WebhookDeactivated') state = { ...state, is_active: false }
    else if (type === 'WebhookDeleted') return 'was deleted'
  if (state === null) return 'did not exist yet'
  if (!state.is_active) return 'was inactive'
  const pattern = state.event
  const takes =
    pattern === '*' ? !event.startsWith('kolbak.') : pattern === event || (pattern.endsWith('.*') && event.startsWith(pattern.slice(0, -1)))
  return takes ? `should have got the message: its pattern was ${pattern}` : `had the pattern ${pattern}, which does not take this event`
}

/** Yields the lines of a file, which may be larger than the memory. Each line must end with a line feed. */
function* linesOf(path, hash) {
  const file = openSync(path, 'r')
  try {
    const chunk = Buffer.alloc(1 << 20)
    let rest = Buffer.alloc(0)
    for (let length = readSync(file, chunk); length > 0; length = readSync(file, chunk)) {
      hash?.update(chunk.subarray(0, length))
      rest = Buffer.concat([rest, chunk.subarray(0, length)])
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield rest.toString('utf8', 0, end)
        rest = rest.subarray(end + 1)
      }
    }
    if (rest.length > 0) refuse(`${path} is cut off.`)
  } finally {
    closeSync(file)
  }
}

/** Returns the leaf of a line of an export: the hash of the entry, or the hash that stands for the entry of another tenant. */
const leafOfLine = (line) => (line.startsWith('"') ? bytesOf(JSON.parse(line), 32) : leafHash(line))

/** A tree that grows. It keeps only the roots of its perfect subtrees. */
function createTree() {
  const roots = []
  let size = 0
  return {
    push(leaf) {
      let root = leaf
      for (let index = size; index % 2 === 1; index = (index - 1) / 2) root = nodeHash(roots.pop(), root)
      roots.push(root)
      size++
    },
    size: () => size,
    root: () => (size === 0 ? sha256() : roots.reduceRight((right, left) => nodeHash(left, right))),
  }
}

/** Checks that the events of each stream follow one another: their revisions, and the hash of the event before. */
function createStreamCheck() {
  const last = new Map()
  return {
    count: () => last.size,
    /** @param isForged whether Kolbak has not written the event like this. The event after it then names another hash. */
    push(entry, [, stream, revision, id, , , metadata], isForged) {
      const before = last.get(stream) ?? { revision: -1, hash: null }
      if (isForged) {
        if (revision === before.revision + 1) last.set(stream, { revision, hash: undefined })
        return
      }
      if (revision !== before.revision + 1) refuse(`${stream}@${before.revision + 1} is missing.`)
      if (before.hash !== undefined && (metadata.prev ?? null) !== before.hash)
        refuse(`${stream}@${revision} names another event before it.`)
      const start = JSON.stringify(['command/1', stream, revision, id]).length
      last.set(stream, {
        revision,
        hash: createHash('sha256')
          .update(`[${entry.slice(start)}`)
          .digest('hex'),
      })
    },
  }
}

/**
 * Checks an export. Returns its head, the kept heads that it contains, and sentences that say what it contains and what is forged in it. Throws
 * NotProven.
 * @param kept signed notes that were kept elsewhere
 */
function checkExport(folder, kept) {
  const { key, head: note, confirmed, format, listed: list } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
  if (format !== exportFormat) refuse(`The folder is no export of the format ${exportFormat}.`)
  const head = openHead(note, key)
  const [title, ...contents] = openNote(confirmed, key).text.trimEnd().split('\n')
  if (title !== exportFormat) refuse('The manifest has a note of another kind.')
  const linesWith = (word) => contents.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1))
  const [[tenant], [digest], forged] = [linesWith('tenant'), linesWith('entries'), new Set(linesWith('forged'))]
  /** The indexes of forged events that are shown as hashes, because they are of other tenants. */
  const hidden = new Set()
  const keptHeads = kept.flatMap((keptNote) => headOrNone(keptNote, key))
  const others = []
  const tree = createTree()
  const streams = createStreamCheck()
  const hash = createHash('sha256')
  const batches = new Map()
  /** The last event of each stream of the tenant, up to the size of the list. */
  const lastEvents = new Map()
  let listed
  let shown = 0
  for (const line of linesOf(join(folder, 'entries.jsonl'), hash)) {
    const index = tree.size()
    tree.push(leafOfLine(line))
    others.push(...keptHeads.filter(({ size, root }) => size === tree.size() && tree.root().equals(root)))
    if (line.startsWith('"')) {
      if (forged.has(String(index))) hidden.add(String(index))
      continue
    }
    shown++
    const entry = JSON.parse(line)
    const [, stream, revision, , type, data, metadata] = entry
    if (list !== undefined && index < list.size && metadata.tenant === tenant) lastEvents.set(stream, { revision, leaf: leafHash(line) })
    if (index === list?.entry && type === 'StreamsListed' && stream.startsWith('log-')) listed = { ...data, time: metadata.time }
    streams.push(line, entry, forged.has(String(index)))
    if (type === 'BatchSealed' && stream.startsWith('log-')) batches.set(String(index), data)
  }
  if (tree.size() !== head.size) refuse(`The export has ${tree.size()} entries, and its head ${head.size}.`)
  if (!tree.root().equals(head.root)) refuse('The entries do not have the root of the head: some were changed, removed, or put in.')
  if (hash.digest('hex') !== digest) refuse('The entries are not those that Kolbak exported: some are shown as hashes, or not as hashes.')
  const attempts = checkBatches(join(folder, 'batches'), linesWith('batch'), batches)
  const whose = tenant === '*' ? '' : ` ${shown} of them are of tenant ${tenant} or of the log itself, by the word of Kolbak.`
  const lines = [`The export contains all ${head.size} entries of ${head.origin}, in ${streams.count()} streams without a gap.${whose}`]
  if (linesWith('batch').length > 0)
    lines.push(`It contains all ${attempts} attempts and routing events of ${linesWith('batch').length} of ${batches.size} batches.`)
  if (list !== undefined) lines.push(wholeByList(list, listed, tenant, lastEvents))
  const isForged = (what) => `${what} is forged or altered: Kolbak has not written it like this.`
  const problems = [
    ...linesWith('forged-attempt').map((line) => isForged(`The attempt ${line.split(' ')[1]} in the batch of entry ${line.split(' ')[0]}`)),
    ...[...forged].filter((index) => !hidden.has(index)).map((index) => isForged(`The entry ${index}`)),
  ]
  for (const index of hidden) lines.push(isForged(`The entry ${index}, which is of another tenant,`))
  return { key, head, facts: [], others, lines, problems }
}
/** Returns the head in a note as the only element, or nothing if this key has not signed the note. */
function headOrNone(note, key) {
  try {
    return [openHead(note, key)]
  } catch {
    return [] // the check of the file itself says what is wrong with the note
  }
}

/** Checks that the shown events of a tenant are all that a list of streams has. Returns a sentence that says so. Throws NotProven. */
function wholeByList({ size, index, path }, listed, tenant, lastEvents) {
  if (listed === undefined || listed.size !== size) refuse('The export names a list of streams that it does not contain.')
  const tree = createTree()
  for (const [stream, { revision, leaf }] of [...lastEvents].sort(([a], [b]) => (a < b ? -1 : 1)))
    tree.push(streamLeaf(stream, revision, leaf))
  const root = rootFromInclusion(tenantLeaf(tenant, tree.size(), tree.root()), index, listed.tenants, pathOf(path))
  if (root?.toString('base64') !== listed.root)
    refuse(`The export does not show each event of tenant ${tenant} that the log had at ${listed.time}.`)
  return `It shows each event of tenant ${tenant} that the log had at ${listed.time}, when the log listed them.`
}

function checkBatches(folder, listed, batches) {
  let events = 0
  for (const index of listed) {
    const { count, root } = batches.get(index) ?? refuse(`The entry ${index} is no batch.`)
    const tree = createTree()
    for (const line of linesOf(join(folder, `${index}.jsonl`))) tree.push(leafOfLine(line))
    if (tree.size() !== count || tree.root().toString('base64') !== root) refuse(`The batch of entry ${index} is not what was sealed.`)
    events += count
  }
  const files = existsSync(folder) ? readdirSync(folder) : []
  const expected = new Set(listed)
  const other = files.find((file) => !expected.has(file.replace(/\.jsonl$/, '')))
  if (other !== undefined) refuse(`The file ${other} is not part of the export.`)
  return events
}

const isSame = (a, b) => a.origin === b.origin && a.size === b.size && a.root.equals(b.root)

/** Returns the note in a file with a kept head: the note itself, or the last line of an anchor file. */
function keptNote(text) {
  const line = text.trimEnd().split('\n').at(-1) ?? ''
  if (!line.startsWith('{')) return text
  try {
    return JSON.parse(line).note
  } catch {
    return refuse('The last line of the file is cut off.')
  }
}

const noteOrNone = (text) => {
  try {
    return [keptNote(text)]
  } catch {
    return [] // the check of the file itself says that it is cut off
  }
}

/**
 * Checks files: proofs, and heads that were kept elsewhere. Never throws.
 * @param files objects with `name`, and `bytes` (a Buffer) or `folder` (the path of an export)
 * @param key the key of the log, if it was got elsewhere
 * @param witness the key of a witness that must have signed one of the heads, if there is one
 * @returns `{ok, lines}`: whether everything is proven, and sentences that say what is proven or what is wrong
 */
export function check(files, key, witness) {
  const lines = []
  const problems = []
  const proofs = []
  const attempt = (name, work) => {
    try {
      return work()
    } catch (error) {
      problems.push(`${name}: ${error instanceof NotProven ? error.message : `The file has another form (${error.message}).`}`)
      return undefined
    }
  }
  const isProof = ({ bytes, folder }) => folder !== undefined || /^\s*\{\s*"format"/.test(bytes.toString('utf8', 0, 100))
  const kept = files.filter((file) => !isProof(file)).flatMap(({ bytes }) => noteOrNone(bytes.toString()))
  for (const { name, bytes, folder } of files.filter(isProof)) {
    const proof = attempt(name, () => (folder === undefined ? checkProof(readProof(bytes)) : checkExport(folder, kept)))
    if (proof !== undefined) proofs.push({ name, ...proof })
  }
  const [first] = proofs
  if (first === undefined) problems.push('No proof was checked.')
  for (const { name, key: other } of proofs) {
    if (other !== first.key) problems.push(`${name}: The proofs are of different logs.`)
    if (key !== undefined && other !== key) problems.push(`${name}: The proof was signed by the key ${other}, and not by the given one.`)
  }
  // Two heads are linked if a proof shows that one log has both. All heads that are linked with the first proof are of one log.
  const linked = first === undefined ? [] : [first.head]
  const isLinked = (head) => linked.some((other) => isSame(other, head))
  for (let before = -1; before < linked.length; ) {
    before = linked.length
    for (const { head, others } of proofs)
      if ([head, ...others].some(isLinked)) linked.push(...[head, ...others].filter((other) => !isLinked(other)))
  }
  for (const { name, head } of proofs)
    if (!isLinked(head)) problems.push(`${name}: Nothing shows that the log of this proof and the log of ${first.name} are one.`)
  const heads = files.filter((file) => !isProof(file))
  let isWitnessed = false
  for (const { name, bytes } of first === undefined ? [] : heads) {
    const head = attempt(name, () => openHead(keptNote(bytes.toString()), first.key))
    if (head === undefined) continue
    const time = witness === undefined ? null : attempt(name, () => cosignedAt(keptNote(bytes.toString()), witness))
    if (typeof time === 'number' && isLinked(head)) {
      isWitnessed = true
      lines.push(`The witness ${witness.split('+')[0]} has seen the head in ${name} at ${new Date(time * 1_000).toISOString()}.`)
    }
    if (isLinked(head)) lines.push(`The log still contains the ${head.size} events of the head in ${name}, unchanged.`)
    else if (proofs.some(({ name: folder, head: { size } }) => files.some((file) => file.folder === folder && size < head.size)))
      problems.push(`${name}: This head has ${head.size} events, more than the export: make a new export, or give a head from before it.`)
    else
      problems.push(
        `${name}: Nothing links this head of ${head.size} leaves with the proof. Make the proof with \`--head\` and this file, or give the output of \`kolbak audit head --since-head\` too.`,
      )
  }
  if (witness !== undefined && !isWitnessed) problems.push(`The witness ${witness} has signed none of the heads.`)
  for (const { lines: ofExport = [] } of proofs) lines.push(...ofExport)
  for (const { head, facts } of proofs)
    for (const fact of facts)
      if (!/^(BatchSealed|StreamsListed)$/.test(fact.type) || facts.length === 1) lines.push(...sentencesOf(head, fact))
  if (key === undefined && heads.length === 0 && first !== undefined)
    problems.push(
      `The proof is signed by the key ${first.key}, which only the proof itself names. Give the key that you got elsewhere (--key), or a head that you kept.`,
    )
  const forged = proofs.flatMap((proof) => proof.problems ?? [])
  return { ok: problems.length + forged.length === 0, lines: [...(problems.length === 0 ? lines : problems), ...forged] }
}

function sentencesOf({ origin, size }, { kind, index, stream, revision, id, type, data, metadata, batch, values }) {
  const what =
    kind === 'command/1'
      ? `${type} of ${stream} (revision ${revision}, event ${id}) by ${metadata.actor} at ${metadata.time}, as entry ${index} of ${size}`
      : `${type} (event ${id}) at ${metadata.time}${attemptOf(stream, data)}, sealed at ${batch.metadata.time} as part of entry ${batch.index} of ${size}`
  const disclosed = Object.entries(values).map(([field, value]) => `  ${field}: ${JSON.stringify(value)}`)
  return [`${origin} contains ${what}.`, ...disclosed]
}
const attemptOf = (stream, { delivery, message, chain, attempt, code }) =>
  delivery === undefined
    ? ''
    : `: message ${message}, delivery ${delivery} to webhook ${stream.split('-')[1]}, chain ${chain}, attempt ${attempt}${
        code === undefined ? '' : code === null ? ', without a response' : `, response ${code}`
      }`

function main(args) {
  const names = []
  const options = {}
  for (let i = 0; i < args.length; i++)
    if (args[i] === '--key' || args[i] === '--witness') options[args[i]] = args[++i]
    else names.push(args[i])
  if (names.length === 0 || names.some((name) => name.startsWith('-')) || Object.values(options).includes(undefined)) {
    console.error('usage: node verify.mjs <proof or export> [<head> ...] [--key <key of the log>] [--witness <key of a witness>]')
    return 2
  }
  const files = []
  for (const name of names)
    try {
      files.push(statSync(name).isDirectory() ? { name, folder: name } : { name, bytes: readFileSync(name) })
    } catch (error) {
      console.error(`${name} cannot be read: ${error.message}`)
      return 2
    }
  const { ok, lines } = check(files, options['--key'], options['--witness'])
  for (const line of lines) console.log(line)
  console.log(ok ? 'Proven.' : 'Not proven.')
  return ok ? 0 : 1
}
if (argv[1] !== undefined && realpathSync(argv[1]) === fileURLToPath(import.meta.url)) process.exitCode = main(argv.slice(2))
