import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { argv, exit, stdin, stdout } from 'node:process'
import type { FaultSettings } from './faults.ts'
import { type DoubleOptions, serveEventStoreDb } from './server.ts'

// Usage: `node main.ts '<JSON of DoubleOptions>' [detached]`. This program runs the double. It prints `{"port": n, "control": n}` once it accepts
// connections.
// Commands are POSTs to the control port: `/drop`, `/scavenge`, `/faults` (JSON of the changes). Each responds with the state of the double.
const double = await serveEventStoreDb(JSON.parse(argv[2] ?? '{}') as DoubleOptions)

const control = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const respond = (status: number, body: unknown) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  if (request.url === '/drop') double.drop()
  else if (request.url === '/scavenge') await double.scavenge()
  else if (request.url === '/faults')
    Object.assign(double.faults.settings, JSON.parse(Buffer.concat(chunks).toString() || '{}') as Partial<FaultSettings>)
  else if (request.url !== '/state') return respond(404, {})
  respond(200, { calls: double.faults.calls, role: double.role })
})
control.listen(0, '127.0.0.1', () => {
  stdout.write(`${JSON.stringify({ port: double.port, control: (control.address() as AddressInfo).port })}\n`)
})

const stop = async () => {
  await double.close()
  exit(0)
}
process.once('SIGTERM', () => void stop())
// The other end of stdin belongs to the process that started the double. The double stops when that process ends for any reason, unless it is
// detached.
if (argv[3] !== 'detached') stdin.resume().once('end', () => void stop())
