export const msPerDay = 86_400_000
export const secondsPerDay = 86_400

/** Returns the UTC day (`yyyy-mm-dd`) of a time in milliseconds. */
export const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
