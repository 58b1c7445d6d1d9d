import { env } from 'node:process'

/** Whether the whole matrix runs (`npm run test:full`). By default a sample of it runs, which fits into ten minutes. */
export const isFull = env.KOLBAK_TEST_FULL === 'true'
