/** Quotes a text for a POSIX shell. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Returns a curl command for a request to the API. The token stays a variable, so that no credential is ever copied. */
export function curlOf(method: string, path: string, body?: unknown): string {
  const lines = [
    `curl -sS${method === 'GET' ? '' : ` -X ${method}`} ${quoted(location.origin + path)}`,
    `  -H "authorization: Bearer $TOKEN"`,
  ]
  if (body !== undefined) {
    lines.push(`  -H 'content-type: application/json'`)
    lines.push(`  -d ${quoted(typeof body === 'string' ? body : JSON.stringify(body))}`)
  }
  return lines.join(' \\\n')
}
