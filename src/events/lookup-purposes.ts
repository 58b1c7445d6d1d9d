/** The kinds of values that the service finds by their HMAC. The values themselves are never stored in the clear. */
export const lookupPurposes = ['api-key', 'client-secret', 'idempotency'] as const
export type LookupPurpose = (typeof lookupPurposes)[number]
