import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer as createNetServer, type Socket } from 'node:net'
import gossipServices from '@eventstore/db-client/generated/gossip_grpc_pb.js'
import featureServices from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js'
import featureMessages from '@eventstore/db-client/generated/serverfeatures_pb.js'
import streamServices from '@eventstore/db-client/generated/streams_grpc_pb.js'
import { Server, ServerCredentials, type sendUnaryData, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { writing } from './appends.ts'
import { batchAppending } from './batch-append.ts'
import { type Disk, noDisk, openDisk } from './disk.ts'
import { createEventLog, type LogSettings, realisticLog } from './event-log.ts'
import { createFaults, type Faults } from './faults.ts'
import { gossiping } from './gossip.ts'
import { createNode, type Users } from './node.ts'
import { reading } from './reads.ts'
import { type Member, type Replication, type Role, startReplication } from './replication.ts'

/** A server on 127.0.0.1 that behaves like EventStoreDB 23.10 for the client 6.2. */
export interface EventStoreDbDouble {
  readonly url: string
  readonly port: number
  readonly faults: Faults
  readonly role: Role
  /** Cuts all connections, as a network fault does. */
  drop(): void
  /** Removes expired events from $all. Returns the number of removed events. */
  scavenge(): Promise<number>
  close(): Promise<void>
}

export interface DoubleOptions {
  /** The folder of the events. If null, the events are lost when the process ends. */
  readonly data: string | null
  readonly port?: number
  readonly log?: Partial<LogSettings>
  /** The nodes of the cluster, and the index of this node among them. */
  readonly cluster?: { readonly members: readonly Member[]; readonly own: number }
  /** The server's key and certificate in PEM. If they are given, the server uses TLS. */
  readonly tls?: { readonly key: string; readonly certificate: string }
  /** The users. If they are given, each call needs a name and password. */
  readonly users?: Users
}

export async function serveEventStoreDb(options: DoubleOptions): Promise<EventStoreDbDouble> {
  const { data, port = 0, cluster, tls, users = null } = options
  const logSettings = { ...realisticLog, ...options.log }
  const faults = createFaults()
  const sockets = new Set<Socket>()
  const drop = () => {
    for (const socket of sockets) socket.destroy()
  }

  let replication: Replication | null = null
  let disk: Disk = noDisk
  if (cluster === undefined) disk = data === null ? noDisk : await openDisk(data)
  // In a cluster the disk belongs to the replication, which needs the log first.
  const lateDisk: Disk = { writes: [], write: (events) => disk.write(events), close: () => disk.close() }
  let log = createEventLog(cluster === undefined ? disk : lateDisk, logSettings)
  if (cluster !== undefined && data !== null) {
    replication = await startReplication(data, cluster.members, cluster.own, {
      committed: (events) => log.follow(events),
      elected(events) {
        log.follow(events)
        log.forgetIds()
      },
      deposed(events) {
        log = createEventLog(lateDisk, logSettings)
        log.follow(events)
        drop() // subscriptions of the former log end
      },
    })
    disk = replication.disk
  }
  const node = createNode({ faults, log: () => log, replication, users })

  const server = new Server({ 'grpc.max_receive_message_length': 17 << 20 })
  server.addService(streamServices.StreamsService, {
    ...writing(node),
    batchAppend: batchAppending(node),
    read: reading(node),
  } as unknown as UntypedServiceImplementation)
  server.addService(featureServices.ServerFeaturesService, { getSupportedMethods } as UntypedServiceImplementation)
  server.addService(gossipServices.GossipService, {
    read: gossiping(() => replication?.members() ?? [{ port: bound, internal: 0, isAlive: true, role: 'leader' }]),
  } as unknown as UntypedServiceImplementation)

  // This listener is called before that of gRPC, so that connections can be cut.
  const injector = server.createConnectionInjector(
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.certificate) }]),
  )
  const listener = createNetServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {}) // the other side has cut the connection, and gRPC reports this to its calls
    injector.injectConnection(socket)
  })
  listener.listen(port, '127.0.0.1')
  await once(listener, 'listening')
  const bound = (listener.address() as AddressInfo).port
  return {
    url: `esdb://127.0.0.1:${bound}?tls=${tls !== undefined}`,
    port: bound,
    faults,
    get role() {
      return replication?.role ?? 'leader'
    },
    drop,
    scavenge: () => log.scavenge(),
    async close() {
      listener.close()
      drop()
      server.forceShutdown()
      await replication?.close()
      await disk.close()
    },
  }
}

const features: Record<string, string[]> = {
  append: [],
  delete: [],
  tombstone: [],
  read: ['position', 'events'],
  batchappend: ['deadline_duration'],
}
function getSupportedMethods(_: unknown, callback: sendUnaryData<InstanceType<typeof featureMessages.SupportedMethods>>): void {
  const methods = Object.entries(features).map(([name, list]) =>
    new featureMessages.SupportedMethod().setServiceName('event_store.client.streams.streams').setMethodName(name).setFeaturesList(list),
  )
  callback(null, new featureMessages.SupportedMethods().setEventStoreServerVersion('23.10.0').setMethodsList(methods))
}
