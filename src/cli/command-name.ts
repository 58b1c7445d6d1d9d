import { env } from 'node:process'

/** How this program was called: through npm, as in the README, or by its own name. Hints begin with it, so that they can be copied. */
export const commandName = env.npm_lifecycle_event === 'kolbak' ? 'npm run -s kolbak --' : 'kolbak'
