import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { Config } from '../../config/config.ts'
import { KolbakError, withFullStop } from '../../lib/errors.ts'

type PemVariable = 'KAFKA_SSL_CA' | 'KAFKA_SSL_CERT' | 'KAFKA_SSL_KEY' | 'CASSANDRA_SSL_CA'

/**
 * Reads the PEM files that variables name. Throws KolbakError `invalid_config`.
 * @param files the name of the variable for each TLS option
 */
export function readPemFiles(config: Config, files: Record<string, PemVariable>): Record<string, string> {
  const contents: Record<string, string> = {}
  for (const [option, variable] of Object.entries(files)) {
    const path = config[variable]
    if (path === undefined) continue
    try {
      contents[option] = readFileSync(path, 'utf8')
    } catch (cause) {
      throw new KolbakError('invalid_config', `${variable}: ${path} cannot be read.`, { cause })
    }
  }
  try {
    // Without this check, Node would ignore a file without certificates.
    if (contents.ca !== undefined) new X509Certificate(contents.ca)
    createSecureContext(contents)
  } catch (cause) {
    const names = Object.values(files).filter((variable) => config[variable] !== undefined)
    const sentence = `${names.join(', ')} must name files in PEM format that belong together: ${(cause as Error).message}`
    throw new KolbakError('invalid_config', withFullStop(sentence), { cause })
  }
  return contents
}
