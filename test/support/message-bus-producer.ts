// This program produces records in several concurrent loops, and prints each place once the record is durable.
// Usage: node message-bus-producer.ts <url> <name> <records>
import { writeSync } from 'node:fs'
import { message, record } from '../contracts/message-bus.contract.ts'
import { postgresBusMember } from './message-bus.ts'

const [url = '', name = '', count = '0'] = process.argv.slice(2)
const { bus, close } = await postgresBusMember({ url, consumers: () => 1 })
let next = 0
const lane = async () => {
  while (next < Number(count)) {
    const place = await bus.produce(record(message(`${name}-${next++}`, 'x'.repeat(300))))
    writeSync(1, `${place}\n`)
  }
}
await Promise.all(Array.from({ length: 8 }, lane))
await close()
