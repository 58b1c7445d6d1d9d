// `npm run dev` starts the service for a developer. It allows receivers on this machine, and prints the log for people, with a line for each posted
// event and each delivery.
import cluster from 'node:cluster'
import { env } from 'node:process'

const loopback = ['127.0.0.0/8', '::1/128']
// The workers of a supervisor start with this file too. For them the variables are set already.
const subnets = new Set([...(env.KOLBAK_ALLOWED_SUBNETS ?? '').split(',').filter((subnet) => subnet !== ''), ...loopback])
env.KOLBAK_ALLOWED_SUBNETS = [...subnets].join(',')
env.KOLBAK_LOG_FORMAT ??= 'text'
env.KOLBAK_LOG_LEVEL ??= 'debug'
if (cluster.isPrimary && process.argv.length === 2)
  console.log(`Development: Kolbak delivers to receivers on this machine (${loopback.join(', ')}). Do not run it like this in production.`)
await import('../main.ts')
