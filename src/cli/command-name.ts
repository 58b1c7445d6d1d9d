import { env } from 'node:process'

/** The command that called this program: npm, as in the README, or its own name. Hints begin with it, so that they can be copied. */
export const commandName = env.npm_lifecycle_event === 'kolbak' ? 'npm run -s kolbak --' : 'kolbak'
