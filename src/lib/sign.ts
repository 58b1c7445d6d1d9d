import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'

const prefix = 'whsec_'

/** Returns the key object of a webhook's secret (`whsec_` + base64). Make it once for each secret, because this halves the cost of signing. */
export const signingKey = (secret: string): KeyObject => createSecretKey(Buffer.from(secret.slice(prefix.length), 'base64'))

/**
 * Returns the headers of Standard Webhooks, with one signature for each valid secret.
 * @param id the id of the message, which is the same on every attempt
 * @param now milliseconds since 1970
 */
export function signatureHeaders(keys: readonly KeyObject[], id: string, body: Buffer, now: number) {
  const timestamp = String(Math.floor(now / 1_000))
  const signatures = keys.map((key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`)
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
