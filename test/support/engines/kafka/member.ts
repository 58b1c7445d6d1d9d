import { randomUUID } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { createKafkaMessageBus, type KafkaMessageBus, type KafkaMessageBusOptions } from '../../../../src/adapters/kafka/message-bus.ts'
import { silentLog } from '../../../../src/lib/log.ts'

export interface KafkaBusMember {
  readonly bus: KafkaMessageBus
  /** Ends the member like a killed process: its connections are cut, and it opens no new ones. */
  crash(): Promise<void>
  /** Resets the member's connections. It can open new ones. */
  cut(): void
  /** Makes the member's connections silent: they stay open, and no byte passes in either direction. New connections work. */
  deafen(): void
  close(): Promise<void>
}

/** Opens a bus with its own connections, like a separate process. Its session ends after 5 s of silence. */
export async function kafkaBusMember(
  options: { brokers: readonly string[]; topic: string } & Partial<KafkaMessageBusOptions>,
): Promise<KafkaBusMember> {
  const sockets = new Set<Socket>()
  let crashed = false
  const bus = await createKafkaMessageBus({
    groupId: `group-of-${options.topic}`,
    partitions: 4,
    replicationFactor: 1,
    minInSyncReplicas: 1,
    retentionMs: 3_600_000,
    maxMessageBytes: 4 << 20,
    sessionTimeoutMs: 5_000,
    fetchWaitMs: 200,
    log: silentLog,
    socketFactory({ host, port, onConnect }) {
      const socket = connect({ host, port }, onConnect)
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      if (crashed) socket.destroy(new Error('this process is dead'))
      return socket
    },
    ...options,
  })
  let ended = false
  return {
    bus,
    cut() {
      for (const socket of sockets) socket.destroy(new Error('reset'))
    },
    deafen() {
      for (const socket of sockets) Object.assign(socket.pause(), { write: () => true })
    },
    async crash() {
      ended = true
      crashed = true
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      if (ended) return
      ended = true
      await bus.close()
    },
  }
}

/** Returns a topic's name that no other test has. */
export const freshTopic = (): string => `messages-${randomUUID()}`
