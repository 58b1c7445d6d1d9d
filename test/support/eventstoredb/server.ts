import type { AddressInfo } from 'node:net'
import { createServer as createNetServer, type Socket } from 'node:net'
import featureServices from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js'
import featureMessages from '@eventstore/db-client/generated/serverfeatures_pb.js'
import streamServices from '@eventstore/db-client/generated/streams_grpc_pb.js'
import { Server, ServerCredentials, type sendUnaryData, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { writing } from './appends.ts'
import { batchAppending } from './batch-append.ts'
import { noDisk, openDisk } from './disk.ts'
import { eventLog } from './event-log.ts'
import { type Faults, faults as noFaults } from './faults.ts'
import { reading } from './reads.ts'

/** A server that speaks as EventStoreDB 23.10 does with its client 6.2, without authentication, on 127.0.0.1. */
export interface EventStoreDbDouble {
  readonly url: string
  readonly port: number
  readonly faults: Faults
  /** Cuts all connections, as a network does. */
  drop(): void
  close(): Promise<void>
}

/** @param data the folder that keeps the events; null: they go with the process */
export async function serveEventStoreDb({ data, port = 0 }: { data: string | null; port?: number }): Promise<EventStoreDbDouble> {
  const disk = data === null ? noDisk : await openDisk(data)
  const log = eventLog(disk)
  const faults = noFaults()
  const server = new Server({ 'grpc.max_receive_message_length': 17 << 20 })
  server.addService(streamServices.StreamsService, {
    ...writing(log, faults),
    batchAppend: batchAppending(log, faults),
    read: reading(log, faults),
  } as unknown as UntypedServiceImplementation)
  server.addService(featureServices.ServerFeaturesService, { getSupportedMethods } as UntypedServiceImplementation)

  // Our own listener in front, so that connections can be cut.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const sockets = new Set<Socket>()
  const listener = createNetServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {}) // the other side has cut it: its calls are told by gRPC
    injector.injectConnection(socket)
  })
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(port, '127.0.0.1', resolve)
  })
  const drop = () => {
    for (const socket of sockets) socket.destroy()
  }
  const bound = (listener.address() as AddressInfo).port
  return {
    url: `esdb://127.0.0.1:${bound}?tls=false`,
    port: bound,
    faults,
    drop,
    async close() {
      listener.close()
      drop()
      server.forceShutdown()
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
