// `npm run dev` starts the service for a developer's own machine: receivers on this machine are allowed, and the log is for people.
import cluster from 'node:cluster'
import { env } from 'node:process'

const loopback = ['127.0.0.0/8', '::1/128']
// The workers of a supervisor start here too, with the variables that are set already.
const subnets = new Set([...(env.KOLBAK_ALLOWED_SUBNETS ?? '').split(',').filter((subnet) => subnet !== ''), ...loopback])
env.KOLBAK_ALLOWED_SUBNETS = [...subnets].join(',')
env.KOLBAK_LOG_FORMAT ??= 'text'
if (cluster.isPrimary)
  console.log(`Development: Kolbak delivers to receivers on this machine (${loopback.join(', ')}). Do not run it like this in production.`)
await import('../main.ts')
