import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificate {
  /** A PKCS#12 store with the key and the certificate. */
  readonly keystore: string
  readonly password: string
  /** The certificate that a client has to trust, as PEM. */
  readonly ca: string
}

/** Makes a self-signed certificate for localhost with Java's keytool. No other program is needed. */
export async function makeCertificate(folder: string): Promise<Certificate> {
  const keystore = join(folder, 'server.p12')
  const pem = join(folder, 'ca.pem')
  const password = 'for-tests-only'
  const store = ['-keystore', keystore, '-storetype', 'PKCS12', '-storepass', password, '-alias', 'server']
  await run('keytool', [
    ...['-genkeypair', '-keyalg', 'RSA', '-keysize', '2048', '-validity', '30', '-dname', 'CN=localhost'],
    ...['-ext', 'SAN=dns:localhost,ip:127.0.0.1', ...store],
  ])
  await run('keytool', ['-exportcert', '-rfc', '-file', pem, ...store])
  return { keystore, password, ca: await readFile(pem, 'utf8') }
}
