/**
 * Returns a sentence about a response without a status line. It quotes nothing, because receivers may echo the payload.
 * @param beginning the first characters of the response, in Latin-1
 */
export function describeNoStatus(beginning: string): string {
  const text = beginning.trimStart()
  if (/^HTTP\//i.test(text)) return 'The status line of the response has no valid status code.'
  if (text.startsWith('SSH-')) return 'The receiver speaks SSH and not HTTP.'
  if (beginning.startsWith('\x15\x03')) return 'The receiver speaks TLS on this port, so the URL must begin with https:.'
  // These bytes are the frame SETTINGS, with which a connection of HTTP/2 begins.
  if (beginning.startsWith('\0\0') && beginning[3] === '\x04') return 'The receiver speaks HTTP/2 without negotiating it.'
  if (/^220[ -]/.test(text)) return 'The receiver greets like a mail or FTP server and does not speak HTTP.'
  if (text.startsWith('<')) return 'The response begins with markup and has no HTTP status line.'
  return 'The response does not begin with an HTTP status line.'
}
