import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exit, stdin, stdout } from 'node:process'
import { parseArgs } from 'node:util'
import type { FaultSettings } from './faults.ts'
import { serveEventStoreDb } from './server.ts'

// The double as a process of its own: `node main.ts --data <folder> --port <n>` prints `{"port": n, "control": n}` once it
// answers. Commands are POSTs to the control port: `/drop`, `/faults` (JSON of what is to change); GET `/calls` counts.
const { values } = parseArgs({ options: { data: { type: 'string' }, port: { type: 'string', default: '0' } } })
const double = await serveEventStoreDb({ data: values.data ?? null, port: Number(values.port) })

const control = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const answer = (status: number, body: unknown) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  if (request.url === '/drop') double.drop()
  else if (request.url === '/faults')
    Object.assign(double.faults.settings, JSON.parse(Buffer.concat(chunks).toString() || '{}') as Partial<FaultSettings>)
  else if (request.url !== '/calls') return answer(404, {})
  answer(200, { calls: double.faults.calls, faults: double.faults.settings })
})
control.listen(0, '127.0.0.1', () => {
  stdout.write(`${JSON.stringify({ port: double.port, control: (control.address() as AddressInfo).port })}\n`)
})

const stop = async () => {
  await double.close()
  exit(0)
}
process.once('SIGTERM', () => void stop())
// Whoever started it holds the other end: it goes when that goes, however that went.
stdin.resume().once('end', () => void stop())
