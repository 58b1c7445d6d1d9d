import { createSocket } from 'node:dgram'

type Records = Readonly<Record<string, { readonly A?: RecordResponse; readonly AAAA?: RecordResponse }>>
/** The response for one record: addresses (IPv6 without `::`), silence, the denial of the whole name, or addresses after some milliseconds. */
type RecordResponse = readonly string[] | 'silence' | 'denial' | { readonly after: number; readonly addresses: readonly string[] }

export interface NameServer {
  /** The server's address in the format of `dns.setServers`. */
  readonly address: string
  /** The queries that it has received, such as `A good.test`. */
  readonly questions: readonly string[]
  close(): Promise<void>
}

/** Starts a name server with these records. Other names do not exist (NXDOMAIN). For a missing record of a known name, the response is empty. */
export async function startNameServer(records: Records): Promise<NameServer> {
  const socket = createSocket('udp4')
  const questions: string[] = []
  socket.on('message', (query, { port, address }) => {
    const labels: string[] = []
    let at = 12
    while (query[at] !== 0) {
      const length = query[at]!
      labels.push(query.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
    const question = query.subarray(12, at + 5)
    const type = query.readUInt16BE(at + 1) === 1 ? 'A' : 'AAAA'
    const name = labels.join('.').toLowerCase()
    questions.push(`${type} ${name}`)
    const recorded = records[name] === undefined ? 'denial' : (records[name][type] ?? [])
    if (recorded === 'silence') return
    const entry = recorded === 'denial' ? undefined : recorded
    const addresses = entry === undefined ? [] : 'after' in entry ? entry.addresses : entry
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(entry === undefined ? 0x8183 : 0x8180, 2)
    head.writeUInt16BE(addresses.length, 6)
    head.writeUInt32BE(0, 8)
    const entries = addresses.map((text) => {
      const bytes =
        type === 'A'
          ? Buffer.from(text.split('.').map(Number))
          : Buffer.from(
              text
                .split(':')
                .map((group) => group.padStart(4, '0'))
                .join(''),
              'hex',
            )
      const entry = Buffer.alloc(12)
      entry.writeUInt16BE(0xc00c, 0)
      entry.writeUInt16BE(type === 'A' ? 1 : 28, 2)
      entry.writeUInt16BE(1, 4)
      entry.writeUInt32BE(60, 6)
      entry.writeUInt16BE(bytes.length, 10)
      return Buffer.concat([entry, bytes])
    })
    const reply = Buffer.concat([head, question, ...entries])
    setTimeout(() => socket.send(reply, port, address), entry !== undefined && 'after' in entry ? entry.after : 0)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${socket.address().port}`,
    questions,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  }
}
