/**
 * The kinds of values that the service finds or checks by their HMAC. Keys, secrets and requests are never stored in the clear. The HMAC of a row of
 * credentials shows that Kolbak has written the row.
 */
export const lookupPurposes = ['api-key', 'client-secret', 'idempotency', 'credential-row'] as const
export type LookupPurpose = (typeof lookupPurposes)[number]
