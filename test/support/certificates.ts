import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A key and a certificate in PEM. `cert` also contains the certificates of intermediate authorities. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}
export interface Authority {
  /** The certificate of the authority, which a client has to trust. */
  readonly cert: string
  /**
   * Issues a certificate for names or addresses, such as `DNS:good.test` and `IP:127.0.0.1`. @param days how long it is valid; a negative number
   * makes an expired certificate
   */
  issue(names: readonly string[], days?: number): Certificate
  /** Issues the certificate of an authority below this one. The certificates that it issues contain the whole chain. */
  issueAuthority(): Authority
}

/** Runs openssl in a temporary folder, and returns the files that it made. */
function openssl(inputs: Readonly<Record<string, string>>, commands: readonly string[], outputs: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'kolbak-tls-'))
  try {
    for (const [name, content] of Object.entries(inputs)) writeFileSync(join(folder, name), content)
    for (const command of commands) execFileSync('openssl', command.split(' '), { cwd: folder, stdio: 'ignore' })
    return outputs.map((name) => readFileSync(join(folder, name), 'utf8'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'

const authorityOf = (cert: string, key: string, chain: string): Authority => {
  const sign = (extensions: string, subject: string, days: number): Certificate => {
    const [leafKey, leaf] = openssl(
      { 'ca.pem': cert, 'ca.key': key, extensions },
      [
        `req ${newKey} -subj /CN=${subject} -keyout key.pem -out request.pem`,
        `x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days ${days} -extfile extensions -out cert.pem`,
      ],
      ['key.pem', 'cert.pem'],
    )
    return { key: leafKey!, cert: leaf! }
  }
  return {
    cert,
    issue(names, days = 2) {
      const leaf = sign(`subjectAltName=${names.join(',')}`, 'leaf', days)
      return { key: leaf.key, cert: leaf.cert + chain }
    },
    issueAuthority() {
      const below = sign('basicConstraints=critical,CA:TRUE', 'below', 2)
      return authorityOf(below.cert, below.key, below.cert + chain)
    },
  }
}

/** Creates an authority with a self-signed certificate. */
export function createAuthority(): Authority {
  const [key, cert] = openssl(
    {},
    [`req -x509 ${newKey} -days 2 -subj /CN=authority -keyout key.pem -out cert.pem`],
    ['key.pem', 'cert.pem'],
  )
  return authorityOf(cert!, key!, '')
}

/** Creates a self-signed certificate for 127.0.0.1. */
export function selfSigned(): Certificate {
  const command = `req -x509 ${newKey} -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem`
  const [key, cert] = openssl({}, [command], ['key.pem', 'cert.pem'])
  return { key: key!, cert: cert! }
}
