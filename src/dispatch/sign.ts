import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'

const prefix = 'whsec_'

/** The key of a webhook's secret, `whsec_` + base64. Made once per secret: signing with it costs half. */
export const signingKey = (secret: string): KeyObject => createSecretKey(Buffer.from(secret.slice(prefix.length), 'base64'))

/**
 * The headers of Standard Webhooks: the id is the message's, the same on every attempt; one signature for each live
 * secret. @param now milliseconds
 */
export function signatureHeaders(keys: readonly KeyObject[], id: string, body: Buffer, now: number) {
  const timestamp = String(Math.floor(now / 1_000))
  const signatures = keys.map((key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`)
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
