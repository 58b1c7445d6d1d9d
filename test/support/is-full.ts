import { env } from 'node:process'

/** Whether the whole matrix is asked for (`npm run test:full`), and not what fits into ten minutes. */
export const isFull = env.KOLBAK_TEST_FULL === 'true'
