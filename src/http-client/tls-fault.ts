import { codeOf } from '../lib/errors.ts'

/** Codes of Node and OpenSSL (without the prefix `ERR_SSL_`), each with a sentence for the owner of the receiver. */
const sentences: readonly (readonly [RegExp, string])[] = [
  [/^CERT_HAS_EXPIRED$/, 'The certificate of the host, or one in its chain, has expired.'],
  [/^CERT_NOT_YET_VALID$/, 'The certificate of the host, or one in its chain, is not valid yet.'],
  [/^ERR_TLS_CERT_ALTNAME_/, 'The certificate is for other names than the name of the host.'],
  [/^DEPTH_ZERO_SELF_SIGNED_CERT$/, 'The certificate is self-signed, so its issuer is unknown.'],
  [/^SELF_SIGNED_CERT_IN_CHAIN$/, 'The issuer of the certificate is unknown: its chain ends in a root that is not trusted.'],
  [
    /^UNABLE_TO_VERIFY_LEAF_SIGNATURE$/,
    'The host sent only its own certificate, whose issuer is unknown: an intermediate certificate is missing, or the authority is not a public one.',
  ],
  [
    /^UNABLE_TO_GET_ISSUER_CERT(?:_LOCALLY)?$/,
    'The issuer of the certificate is unknown: its authority is not trusted, or an intermediate certificate is missing.',
  ],
  [/^CERT_REVOKED$/, 'The certificate was revoked.'],
  [/^(?:CERT_|INVALID_|UNABLE_TO_|CRL_|HOSTNAME_|PATH_LENGTH|ERROR_IN_CERT)/, 'The certificate of the host is not valid.'],
  [/CERTIFICATE_REQUIRED/, 'The host asks for a client certificate, which Kolbak does not have.'],
  [
    /ALERT_(?:BAD|UNKNOWN|UNSUPPORTED)_C(?:ERTIFICATE|A)|ALERT_NO_CERTIFICATE/,
    'The host asks for a client certificate, which Kolbak does not have.',
  ],
  [
    /(?:UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|VERSION_TOO_LOW)/,
    'The host supports no protocol version that is still safe (TLS 1.2 or 1.3).',
  ],
  [
    /(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE)/,
    'The host does not speak TLS on this port.',
  ],
  [
    /HANDSHAKE_FAILURE/,
    'The host refused the handshake: it supports none of the offered ciphers, or asks for a client certificate, which Kolbak does not have.',
  ],
  [/UNRECOGNIZED_NAME/, 'The host has no certificate for the name in the URL.'],
  [
    /(?:NO_CIPHERS|NO_SHARED_CIPHER|DH_KEY_TOO_SMALL|EE_KEY_TOO_SMALL|MD_TOO_WEAK|LEGACY)/,
    'The host offers only cryptography that is too weak.',
  ],
]
/** Codes of OpenSSL and Node for faulty certificates and handshakes. */
const isTlsCode = /CERT|^ERR_TLS|^ERR_SSL|^UNABLE_TO|^INVALID_(?:CA|PURPOSE)$|^HOSTNAME_MISMATCH$|^PATH_LENGTH_EXCEEDED$|^EPROTO$/

/** Returns a sentence about a faulty certificate or handshake, or null for an error that is not one of TLS. */
export function tlsFault(error: unknown): string | null {
  const code = codeOf(error) ?? ''
  if (!isTlsCode.test(code)) return null
  const name = code.replace(/^ERR_SSL_/, '')
  // The sentence may show the code, because it is a word of OpenSSL or Node and never contains bytes from the host.
  return sentences.find(([pattern]) => pattern.test(name))?.[1] ?? `The TLS handshake failed (${code}).`
}
