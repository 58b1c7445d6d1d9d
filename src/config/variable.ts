import { isIP } from 'node:net'

/** A variable of the environment: its description, its value when it is not set, and its parser. */
export interface Variable<T> {
  /** Description for docs/configuration.md. */
  readonly doc: string
  readonly initial: T
  /** Text for the initial value in the docs, when `String(initial)` is not readable. */
  readonly initialDoc?: string
  readonly secret?: boolean
  /** Parses the text of the variable. Throws an Error whose message continues a sentence that begins with the variable's name: `must be ...`. */
  parse(text: string): T
}
export const invalid = (must: string) => new Error(must)

export const text = (doc: string, initial: string | undefined = undefined, secret = false): Variable<string | undefined> => ({
  doc,
  initial,
  secret,
  parse: (value) => value,
})
export const textOr = (doc: string, initial: string): Variable<string> => ({ doc, initial, parse: (value) => value })
export const integer = (doc: string, initial: number, { min = 0, max = 2 ** 31 - 1 } = {}): Variable<number> => ({
  doc,
  initial,
  parse(value) {
    const number = Number(value)
    if (!/^\d+$/.test(value) || number < min || number > max) throw invalid(`must be a whole number from ${min} to ${max}`)
    return number
  },
})
export const flag = (doc: string, initial = false): Variable<boolean> => ({
  doc,
  initial,
  parse(value) {
    if (value !== 'true' && value !== 'false') throw invalid('must be true or false')
    return value === 'true'
  },
})
export const oneOf = <T extends string, I extends T | undefined>(doc: string, initial: I, choices: readonly T[]): Variable<T | I> => ({
  doc,
  initial,
  parse(value) {
    const choice = choices.find((c) => c === value)
    if (choice === undefined) throw invalid(`must be one of ${choices.join(', ')}`)
    return choice
  },
})
/** A list of hosts, each with a port if need be, separated by commas. White space around a host is dropped. */
export const hosts = (doc: string): Variable<readonly string[] | undefined> => ({
  doc,
  initial: undefined,
  parse(value) {
    const names = value.split(',').map((name) => name.trim())
    if (names.some((name) => name === '')) throw invalid('must be hosts joined by commas')
    const invalidHost = names.find((name) => /\s|:\/\//.test(name) || Number(/:(\d+)$/.exec(name)?.[1] ?? 1) > 65_535)
    if (invalidHost !== undefined) throw invalid(`holds ${JSON.stringify(invalidHost)}, which is no host with a port of up to 65535`)
    return names
  },
})
/** The setting "trust proxy" of Express: a number of hops, `true`, `false`, or names, addresses and subnets separated by commas. */
export const trustProxy = (doc: string): Variable<string | undefined> => ({
  doc,
  initial: undefined,
  parse(value) {
    const isProxy = (name: string): boolean => {
      const [address = '', bits, ...rest] = name.split('/')
      const family = isIP(address)
      return family > 0 && rest.length === 0 && (bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)))
    }
    const invalidProxy = value.split(',').find((name) => !/^(loopback|linklocal|uniquelocal)$/.test(name.trim()) && !isProxy(name.trim()))
    if (/^(\d+|true|false)$/.test(value) || invalidProxy === undefined) return value
    throw invalid(
      `holds ${JSON.stringify(invalidProxy)}, which is neither a number of hops nor an address, a subnet, loopback, linklocal or uniquelocal`,
    )
  },
})
/** A key of at least 32 bytes, in base64, base64url or hex. */
export const key = (doc: string): Variable<Buffer | undefined> => ({
  doc,
  initial: undefined,
  secret: true,
  parse(value) {
    const bytes = /^[0-9a-f]{64,}$/i.test(value) ? Buffer.from(value, 'hex') : Buffer.from(value, 'base64url')
    if (bytes.length < 32) throw invalid('must hold 32 bytes or more, in base64 or hex: `openssl rand -base64 32` makes one')
    return bytes
  },
})
export const minLength = (variable: Variable<string | undefined>, length: number): Variable<string | undefined> => ({
  ...variable,
  parse(value) {
    if (value.length < length) throw invalid(`must have at least ${length} characters`)
    return value
  },
})
const sslModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']
/**
 * A URL of a Postgres. It is checked, because pg would read another text as the name of a database, and would connect without TLS for an unknown
 * `sslmode`.
 */
export const postgresUrl = (doc: string): Variable<string | undefined> => ({
  doc,
  initial: undefined,
  secret: true,
  parse(value) {
    const example = 'postgres://user:password@host:5432/database'
    // A URL of a Unix socket has no host: postgres://user@/database?host=/run/postgresql.
    const withHost = value.replace(/^(postgres(?:ql)?:\/\/(?:[^/?#]*@)?)(?=[/?#]|$)/, '$1localhost')
    if (!/^postgres(ql)?:\/\//.test(value) || !URL.canParse(withHost))
      throw invalid(`must be the URL of a database, such as ${example}, with other characters of user and password percent-encoded`)
    const sslMode = new URL(withHost).searchParams.get('sslmode')
    if (sslMode !== null && !sslModes.includes(sslMode)) throw invalid(`must have one of these values as sslmode: ${sslModes.join(', ')}`)
    return value
  },
})
