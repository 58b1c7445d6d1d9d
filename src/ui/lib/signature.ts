const encoder = new TextEncoder()
const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))

/**
 * Checks a signature of Standard Webhooks in the browser, so that the secret does not leave it. Returns whether one of the signatures is right, or
 * null if the text is no secret.
 * @param signatures the header `webhook-signature`: one or more of `v1,<base64>`, separated by spaces
 */
export async function verifySignature(
  secret: string,
  { id, timestamp, body, signatures }: { id: string; timestamp: string; body: string; signatures: string },
): Promise<boolean | null> {
  let key: CryptoKey
  try {
    const bytes = bytesOf(secret.trim().replace(/^whsec_/, ''))
    key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
  } catch {
    return null
  }
  const signed = encoder.encode(`${id}.${timestamp}.${body}`)
  for (const signature of signatures.split(' ')) {
    const [version, value = ''] = signature.split(',')
    if (version === 'v1' && (await crypto.subtle.verify('HMAC', key, bytesOf(value), signed))) return true
  }
  return false
}
