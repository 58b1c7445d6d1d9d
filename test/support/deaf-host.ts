import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

export interface DeafHost {
  readonly port: number
  /** Makes the host accept connections from now on. TCP repeats a connection attempt without a reply after about a second. */
  listen(): void
  close(): Promise<void>
}

/** The program of the host's thread. It listens and then sleeps, so that it accepts no connection. Once awake, it responds on every connection. */
const program = `
const { createServer } = require('node:net')
const { parentPort, workerData } = require('node:worker_threads')
const { host, port, awake, response } = workerData
const server = createServer((socket) => {
  socket.on('error', () => undefined)
  socket.on('data', () => socket.end(response))
})
server.listen({ host, port, backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  setTimeout(() => Atomics.wait(new Int32Array(awake), 0, 0), 10)
})
`

/** Starts a host whose port is open but which ignores connection attempts, as behind a firewall that drops packets. */
export async function startDeafHost(host: string, port = 0): Promise<DeafHost> {
  const awake = new SharedArrayBuffer(4)
  const response = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'
  const worker = new Worker(program, { eval: true, workerData: { host, port, awake, response } })
  const actualPort = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  await new Promise((resolve) => setTimeout(resolve, 50))
  // The queue of the kernel has room for two connections. The kernel drops every further attempt.
  const fillers: Socket[] = []
  const wake = () => {
    Atomics.store(new Int32Array(awake), 0, 1)
    Atomics.notify(new Int32Array(awake), 0)
  }
  for (let i = 0; i < 4; i++) {
    const socket = connect({ host, port: actualPort })
    socket.on('error', () => undefined)
    fillers.push(socket)
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  return {
    port: actualPort,
    listen() {
      for (const socket of fillers) socket.destroy()
      wake()
    },
    async close() {
      for (const socket of fillers) socket.destroy()
      wake()
      await worker.terminate()
    },
  }
}
