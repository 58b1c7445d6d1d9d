import { readFileSync } from 'node:fs'
import type { Config } from '../../config/config.ts'
import { KolbakError } from '../../lib/errors.ts'

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
  return contents
}
