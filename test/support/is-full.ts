import { env } from 'node:process'

/** Whether the whole matrix of the tests runs (`npm run test:full`). By default, a part of it runs, which takes less than ten minutes. */
export const isFull = env.KOLBAK_TEST_FULL === 'true'
