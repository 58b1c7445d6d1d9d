// Usage: node bench/floor.ts <receiver url> <data folder>
// The floor is the cheapest program that could do the job on this machine. The results of Kolbak are compared with it. node:http accepts events, one
// fsynced insert stores all waiting events, and undici sends one POST for each. It has no tokens, routing, signatures, history or retries.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'
import { Pool } from 'undici'
import { startEmbeddedPostgres } from '../src/adapters/postgres/embedded.ts'
import { silentLog } from '../src/lib/log.ts'

const [receiverUrl = '', dataDir = ''] = process.argv.slice(2)
const postgres = await startEmbeddedPostgres({ dataDir, log: silentLog })
const client = new pg.Client({ connectionString: postgres.url })
await client.connect()
await client.query('create table accepted (id bigint generated always as identity primary key, body bytea not null)')
const receiver = new Pool(new URL(receiverUrl).origin, { connections: 64, pipelining: 1 })

interface Waiting {
  readonly body: Buffer
  respond(): void
}
let waiting: Waiting[] = []
let isWriting = false
const write = async () => {
  if (isWriting || waiting.length === 0) return
  isWriting = true
  const group = waiting
  waiting = []
  await client.query({
    name: 'accept',
    text: 'insert into accepted (body) select * from unnest($1::bytea[])',
    values: [group.map(({ body }) => body)],
  })
  for (const { respond } of group) respond()
  isWriting = false
  void write()
}
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    waiting.push({
      body,
      respond() {
        response.writeHead(202, { 'content-type': 'application/json' }).end('{"message":"Event accepted for processing."}')
        const { id } = JSON.parse(body.toString()) as { id: string }
        void receiver
          .request({ path: '/hook', method: 'POST', headers: { 'content-type': 'application/json', 'webhook-id': id }, body })
          .then((received) => received.body.dump())
      },
    })
    void write()
  })
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
process.on('SIGTERM', async () => {
  server.closeAllConnections()
  await client.end()
  await postgres.stop()
  process.exit(0)
})
