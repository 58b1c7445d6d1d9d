/** A retry comes up to this part of its delay sooner or later than the list says. */
export const jitter = 0.2

/**
 * Seconds that a whole chain takes at the longest: every delay with its jitter, and for each what the attempt before it may take.
 * @param delays seconds
 */
export const longestChain = (delays: readonly number[], attemptSeconds = 0): number =>
  delays.reduce((sum, delay) => sum + delay * (1 + jitter) + attemptSeconds, 0)
