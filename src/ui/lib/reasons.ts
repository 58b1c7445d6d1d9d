/** The meaning of each reason of a failed attempt, and a remedy. */
const sentences: Readonly<Record<string, string>> = {
  address_refused: 'The URL leads to an address that is not public. Use a public address, or allow its subnet in KOLBAK_ALLOWED_SUBNETS.',
  connect_timeout: 'The host did not accept the connection in time. Check its firewall and whether it runs.',
  connection_refused: 'Nothing listens on the port of the URL. Start the receiver, or correct the port.',
  connection_reset: 'The receiver closed the connection before it responded. Its log says why.',
  dns_failed: 'The name of the host does not resolve. Check the spelling of the URL and the DNS entry.',
  invalid_response: 'The response was not valid HTTP. Check what listens on the port.',
  invalid_url: 'The URL cannot be called. Correct it in the settings of the webhook.',
  network_error: 'The network failed on the way to the receiver.',
  timeout: 'The receiver took too long to respond. Respond first, and do the work afterwards.',
  tls_failed: 'The certificate of the receiver was not accepted. Renew it, or add the missing intermediate certificate.',
  expired: 'The time for the retries of this delivery ran out before it could be sent.',
  payload_expired: 'The payload is no longer kept, so it could not be sent.',
  payload_erased: 'The payload was erased on request, so it could not be sent.',
  payload_unreadable: 'The payload could not be opened. The log of Kolbak has the details.',
  webhook_deleted: 'The webhook had been deleted, so nothing was sent.',
  webhook_inactive: 'The webhook was inactive, so nothing was sent. Activate it, and replay the delivery.',
}
const byStatus: Readonly<Record<number, string>> = {
  400: 'The receiver could not read the request. Compare what it expects with the body below.',
  401: 'The receiver did not accept the signature. Compare its secret, and check that it verifies the raw body.',
  403: 'The receiver refused the request. Check its firewall and its signature check.',
  404: 'There is nothing at this path. Correct the URL of the webhook.',
  405: 'The receiver does not accept POST at this path.',
  410: 'The receiver says that it is gone for good, so Kolbak deactivated the webhook.',
  413: 'The receiver refused the body because of its size.',
  422: 'The receiver understood the request, and refused its content.',
  429: 'The receiver asks for fewer requests. Kolbak waits as long as it says.',
}

/**
 * Returns what the result of an attempt means, with a remedy if there is one. Returns null after a success, without a result, and for a status without an
 * explanation.
 */
export function reasonText(reason: string | null, code: number | null): string | null {
  if (reason !== null && sentences[reason] !== undefined) return sentences[reason]
  if (code === null) return reason === null ? null : `The attempt failed: ${reason}.`
  if (code >= 200 && code < 300) return null
  const meaning = byStatus[code]
  if (meaning !== undefined) return meaning
  if (code >= 500) return 'The receiver had a fault of its own. Its log says why.'
  return code >= 300 && code < 400 ? 'The receiver redirected the request, and Kolbak follows no redirects. Enter the final URL.' : null
}
/** Returns the result of an attempt in one or two words: `503`, `timeout`. */
export const resultText = (reason: string | null, code: number | null): string =>
  code !== null ? String(code) : reason === null ? '' : reason.replaceAll('_', ' ')
/** Returns the result of an attempt for a sentence: `status 503`, `timeout`. */
export const resultWords = (reason: string | null, code: number | null): string =>
  code !== null ? `status ${code}` : (reason ?? 'no result').replaceAll('_', ' ')
/** Returns the filter for a result that a person typed: `503`, `http_503`, `timeout`. */
export function resultFilter(text: string | null): { readonly code?: number; readonly reason?: string } {
  if (text === null || text === '') return {}
  return /^\d+$/.test(text) ? { code: Number(text) } : { reason: text.trim().toLowerCase().replaceAll(' ', '_') }
}
