import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { createServer, request as httpRequest, type Server } from 'node:http'
import { join } from 'node:path'
import { createGroupCommit } from '../../../src/lib/group-commit.ts'
import { pause } from '../../../src/lib/retry.ts'
import { type Disk, fromLine, toLine } from './disk.ts'
import type { Stored } from './stored.ts'

/** The addresses of a node for its peers and clients, all on 127.0.0.1. */
export interface Member {
  /** Port of the gRPC endpoint. */
  readonly port: number
  /** Port on which the nodes talk to each other. */
  readonly internal: number
}
export interface MemberState extends Member {
  readonly isAlive: boolean
  readonly role: Role
}
export type Role = 'leader' | 'follower' | 'unknown'

/**
 * A node's part in the cluster, which is a small implementation of Raft. A write is durable when a majority of the nodes has it on disk. If another
 * node was elected while a leader was frozen, the former leader can no longer write.
 */
export interface Replication {
  /** The disk for the writes of this node while it leads. Its list `writes` is empty, because the listeners get the earlier writes. */
  readonly disk: Disk
  readonly role: Role
  /** The leader in the view of this node, or null. */
  readonly leader: Member | null
  /** Returns all nodes, including this one, as this node sees them. */
  members(): MemberState[]
  close(): Promise<void>
}

/** Callbacks that keep the node's log up to date. */
interface Listeners {
  /** Called with events of another leader that a majority has, in order. */
  committed(events: readonly Stored[]): void
  /**
   * Called when this node begins to lead and to accept writes. `events` complete the log, so that it has every durable event.
   */
  elected(events: readonly Stored[]): void
  /** Called when this node no longer leads. Its events that no majority has are void. `events` are all valid events. */
  deposed(events: readonly Stored[]): void
}

interface Entry {
  readonly epoch: number
  readonly line: string
}
interface Replicate {
  readonly epoch: number
  readonly leader: number
  /** The length of the log before `entries`, and the epoch of its last entry. */
  readonly before: number
  readonly beforeEpoch: number
  readonly entries: readonly Entry[]
  readonly committed: number
}
interface Vote {
  readonly epoch: number
  readonly candidate: number
  readonly length: number
  readonly lastEpoch: number
}
interface Peer {
  readonly index: number
  readonly member: Member
  /** The length of the peer's log, as far as this leader knows. */
  matched: number
  next: number
  heardAt: number
  role: Role
}

const heartbeatMs = 100
/**
 * A follower that gets no message from the leader for this many milliseconds asks to be elected. A random time of up to the same length is added.
 */
const electionMs = 700
/** A leader that gets no response from a majority for this many milliseconds steps down. */
const quorumMs = 1_500
/** Milliseconds of silence after which gossip reports a node as dead. */
const aliveMs = 1_000

/** @param own index of this node among the members @param folder where this node keeps its log */
export async function startReplication(
  folder: string,
  members: readonly Member[],
  own: number,
  listeners: Listeners,
): Promise<Replication> {
  await mkdir(folder, { recursive: true })
  const votePath = join(folder, 'vote.json')
  const logPath = join(folder, 'entries.jsonl')
  const entries: Entry[] = existsSync(logPath) ? readEntries(readFileSync(logPath, 'utf8')) : []
  writeFileSync(logPath, entries.map(entryLine).join('')) // this removes a last line that a crash has cut off
  let file: FileHandle = await open(logPath, 'a')
  let { epoch, votedFor } = existsSync(votePath)
    ? (JSON.parse(readFileSync(votePath, 'utf8')) as { epoch: number; votedFor: number | null })
    : { epoch: 0, votedFor: null as number | null }

  let role: Role = 'unknown'
  let leader: number | null = null
  let ownDurable = entries.length
  let committed = 0
  let handedOver = 0
  let heardLeaderAt = performance.now()
  let patienceMs = electionMs * (1 + Math.random())
  let isClosed = false
  /** Whether an entry of this leader's epoch has a majority. From then on, the leader accepts calls. */
  let isServing = false
  const now = () => performance.now()
  const majority = Math.floor(members.length / 2) + 1
  const peers: Peer[] = members.flatMap((member, index) =>
    index === own ? [] : [{ index, member, matched: 0, next: entries.length, heardAt: Number.NEGATIVE_INFINITY, role: 'unknown' as Role }],
  )
  /** The writes of this leader that no majority has yet, each with the length of the log up to it. */
  let pending: { length: number; resolve(): void; reject(error: Error): void }[] = []

  const ownRole = (): Role => (role === 'leader' && !isServing ? 'unknown' : role)
  const eventsOf = (entries: readonly Entry[]) => entries.flatMap((entry) => fromLine(entry.line))
  const saveVote = () => writeFileSync(votePath, JSON.stringify({ epoch, votedFor }), { flush: true })
  const epochAt = (length: number) => (length === 0 ? 0 : entries[length - 1]!.epoch)
  /** Appends and synchronises entries in groups. They resolve in order. */
  const writing = createGroupCommit<string, void>({
    async write(lines) {
      await file.appendFile(lines.join(''))
      await file.datasync()
      return lines.map(() => undefined)
    },
    bytesOf: (line) => line.length,
    maxBytes: 16 << 20,
    maxCount: 10_000,
  })
  const store = async (newEntries: readonly Entry[]) => {
    entries.push(...newEntries)
    const length = entries.length
    await Promise.all(newEntries.map((entry) => writing.add(entryLine(entry))))
    ownDurable = Math.max(ownDurable, length)
  }
  const truncate = async (length: number) => {
    await writing.idle()
    await file.close()
    entries.length = length
    writeFileSync(logPath, entries.map(entryLine).join(''), { flush: true })
    file = await open(logPath, 'a')
    ownDurable = length
  }

  const stepDown = (seen: number) => {
    if (seen > epoch) {
      epoch = seen
      votedFor = null
      saveVote()
    }
    if (role === 'leader') {
      for (const write of pending.splice(0)) write.reject(new Error('this node no longer leads'))
      handedOver = committed
      listeners.deposed(eventsOf(entries.slice(0, committed)))
    }
    role = 'unknown'
    isServing = false
    leader = null
    heardLeaderAt = now()
  }
  const settle = () => {
    const lengths = [ownDurable, ...peers.map((peer) => peer.matched)].sort((a, b) => b - a)
    const length = lengths[majority - 1]!
    // Only an entry of the leader's own epoch proves that everything before it is durable (Raft 5.4.2).
    if (length > committed && epochAt(length) === epoch) committed = length
    const done = pending.filter((write) => write.length <= committed)
    pending = pending.filter((write) => write.length > committed)
    for (const write of done) write.resolve()
  }
  const handOver = () => {
    if (role === 'leader' || handedOver >= committed) return
    const events = eventsOf(entries.slice(handedOver, committed))
    handedOver = committed
    listeners.committed(events)
  }

  /** Sends a peer the entries that it lacks, one request after another, while this node leads in the given epoch. */
  const lead = async (peer: Peer, term: number) => {
    peer.next = entries.length
    peer.matched = 0
    while (role === 'leader' && epoch === term && !isClosed) {
      const sent = entries.slice(peer.next, peer.next + 500)
      const message: Replicate = {
        epoch: term,
        leader: own,
        before: peer.next,
        beforeEpoch: epochAt(peer.next),
        entries: sent,
        committed,
      }
      const reply = await call<{ ok: boolean; epoch: number; length: number }>(peer.member, '/replicate', message)
      if (role !== 'leader' || epoch !== term) return
      if (reply === null) {
        await pause(heartbeatMs)
        continue
      }
      peer.heardAt = now()
      if (reply.epoch > epoch) return stepDown(reply.epoch)
      if (!reply.ok) {
        peer.next = Math.max(0, Math.min(peer.next - 1, reply.length))
        continue
      }
      peer.role = 'follower'
      peer.matched = message.before + sent.length
      peer.next = peer.matched
      settle()
      if (peer.next === entries.length) await Promise.race([pause(heartbeatMs), moreEntries()])
    }
  }
  let wakeUp: () => void = () => {}
  let nextEntries = new Promise<void>((resolve) => {
    wakeUp = resolve
  })
  const moreEntries = () => nextEntries
  const wakePeers = () => {
    wakeUp()
    nextEntries = new Promise<void>((resolve) => {
      wakeUp = resolve
    })
  }

  const elect = async () => {
    epoch++
    votedFor = own
    saveVote()
    const term = epoch
    role = 'unknown'
    leader = null
    heardLeaderAt = now()
    patienceMs = electionMs * (1 + Math.random())
    const vote: Vote = { epoch: term, candidate: own, length: entries.length, lastEpoch: epochAt(entries.length) }
    const replies = peers.map((peer) => call<{ granted: boolean; epoch: number }>(peer.member, '/vote', vote, 500))
    let granted = 1
    for (const reply of replies)
      void reply.then((reply) => {
        if (reply === null || epoch !== term || role === 'leader') return
        if (reply.epoch > epoch) return stepDown(reply.epoch)
        if (!reply.granted || ++granted < majority) return
        role = 'leader'
        leader = own
        for (const peer of peers) peer.heardAt = now()
        const events = eventsOf(entries.slice(handedOver))
        handedOver = entries.length
        // An empty entry of the leader's own epoch makes everything before it durable.
        store([{ epoch: term, line: toLine([]).trim() }]).then(() => {
          settle()
          wakePeers()
        }, fail)
        pending.push({
          length: entries.length,
          resolve() {
            isServing = true
            listeners.elected(events)
          },
          reject() {},
        })
        for (const peer of peers) void lead(peer, term)
      })
    await Promise.all(replies)
  }
  const fail = (error: unknown) => {
    throw error
  }

  const onReplicate = async (message: Replicate) => {
    if (message.epoch < epoch) return { ok: false, epoch, length: entries.length }
    if (message.epoch > epoch || role === 'leader') stepDown(message.epoch)
    role = 'follower'
    leader = message.leader
    heardLeaderAt = now()
    patienceMs = electionMs * (1 + Math.random())
    if (message.before > entries.length || epochAt(message.before) !== message.beforeEpoch)
      return { ok: false, epoch, length: Math.min(entries.length, message.before) }
    const firstNew = message.entries.findIndex((entry, i) => entries[message.before + i]?.epoch !== entry.epoch)
    if (firstNew >= 0) {
      if (message.before + firstNew < entries.length) await truncate(message.before + firstNew)
      await store(message.entries.slice(firstNew))
    }
    committed = Math.max(committed, Math.min(message.committed, entries.length))
    handOver()
    heardLeaderAt = now()
    return { ok: true, epoch, length: entries.length }
  }
  const onVote = (vote: Vote) => {
    // A node that gets messages from a leader votes for no other node, because a node that was frozen must not depose the leader.
    const hearsLeader = role === 'leader' || (leader !== null && now() - heardLeaderAt < electionMs)
    if (hearsLeader && vote.epoch > epoch) return { granted: false, epoch }
    if (vote.epoch > epoch) stepDown(vote.epoch)
    const isAsLong =
      vote.lastEpoch > epochAt(entries.length) || (vote.lastEpoch === epochAt(entries.length) && vote.length >= entries.length)
    const granted = vote.epoch === epoch && isAsLong && (votedFor === null || votedFor === vote.candidate)
    if (granted) {
      votedFor = vote.candidate
      saveVote()
      heardLeaderAt = now()
    }
    return { granted, epoch }
  }

  let inOrder: Promise<unknown> = Promise.resolve()
  const server: Server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}')
    const work = async () => (req.url === '/replicate' ? onReplicate(body) : req.url === '/vote' ? onVote(body) : { role: ownRole() })
    const reply = req.url === '/role' ? work() : inOrder.then(work)
    if (req.url !== '/role') inOrder = reply.catch(() => {})
    res.end(JSON.stringify(await reply))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(members[own]!.internal, '127.0.0.1', resolve)
  })

  const watch = async () => {
    while (!isClosed) {
      await pause(heartbeatMs)
      if (role === 'leader') {
        const heardPeers = peers.filter((peer) => now() - peer.heardAt < quorumMs).length + 1
        if (heardPeers < majority) stepDown(epoch)
      } else if (now() - heardLeaderAt > patienceMs) await elect()
    }
  }
  const lookAround = async (peer: Peer) => {
    while (!isClosed) {
      const reply = await call<{ role: Role }>(peer.member, '/role', {}, aliveMs / 2)
      if (reply !== null) {
        peer.role = reply.role
        if (role !== 'leader') peer.heardAt = now()
      }
      await pause(heartbeatMs * 2)
    }
  }
  const watching = [watch(), ...peers.map(lookAround)]

  return {
    disk: {
      writes: [],
      write(events) {
        if (role !== 'leader') return Promise.reject(new Error('this node does not lead'))
        const stored = store([{ epoch, line: toLine(events).trim() }])
        const length = entries.length
        wakePeers()
        stored.then(settle, fail)
        return new Promise<void>((resolve, reject) => pending.push({ length, resolve, reject }))
      },
      async close() {
        await writing.idle()
        await file.close()
      },
    },
    get role() {
      return ownRole()
    },
    get leader() {
      return leader === null || (leader === own && !isServing) ? null : members[leader]!
    },
    members: () => [
      { ...members[own]!, isAlive: true, role: ownRole() },
      ...peers.map((peer) => {
        const isAlive = now() - peer.heardAt < aliveMs
        return { ...peer.member, isAlive, role: isAlive ? peer.role : ('unknown' as const) }
      }),
    ],
    async close() {
      isClosed = true
      role = 'unknown'
      server.close()
      server.closeAllConnections()
      await Promise.all(watching)
    },
  }
}

const entryLine = ({ epoch, line }: Entry): string => `${epoch} ${line}\n`
const readEntries = (text: string): Entry[] =>
  text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ epoch: Number(line.slice(0, line.indexOf(' '))), line: line.slice(line.indexOf(' ') + 1) }))

/** Returns a node's reply, or null when it does not reply in time. */
function call<T>(to: Member, path: string, body: object, timeoutMs = 1_000): Promise<T | null> {
  return new Promise((resolve) => {
    const sent = httpRequest({ host: '127.0.0.1', port: to.internal, path, method: 'POST', timeout: timeoutMs }, async (response) => {
      try {
        const chunks: Buffer[] = []
        for await (const chunk of response) chunks.push(chunk)
        resolve(JSON.parse(Buffer.concat(chunks).toString()) as T)
      } catch {
        resolve(null) // the node ended during its reply
      }
    })
    sent.on('timeout', () => sent.destroy())
    sent.on('error', () => resolve(null))
    sent.end(JSON.stringify(body))
  })
}
