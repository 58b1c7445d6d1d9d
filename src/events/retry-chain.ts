/** Every delay is multiplied by a random factor between 1 - jitter and 1 + jitter. */
export const jitter = 0.2

/**
 * Returns the longest time (seconds) that a whole chain can take. Each delay counts with the highest jitter, and `attemptSeconds` is added for each
 * attempt.
 * @param delays seconds
 */
export const longestChain = (delays: readonly number[], attemptSeconds = 0): number =>
  delays.reduce((sum, delay) => sum + delay * (1 + jitter) + attemptSeconds, 0)
