/** The kinds of values that are found by an HMAC under a key of the service, and are never stored themselves. */
export const lookupPurposes = ['api-key', 'client-secret', 'idempotency'] as const
export type LookupPurpose = (typeof lookupPurposes)[number]
