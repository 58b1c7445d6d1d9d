import { createHash, randomBytes } from 'node:crypto'
import { access, mkdir, open, readFile, rename } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ulid } from 'ulid'
import type { Caller } from '../commands/caller.ts'
import type { CommandStreams } from '../commands/command-streams.ts'
import { handle } from '../commands/handler.ts'
import { type TenantCommand, tenantDecider } from '../commands/tenant.ts'
import type { Config } from '../config/config.ts'
import type { Checkpoint } from '../events/envelope.ts'
import { type ClientId, defaultTenant } from '../events/ids.ts'
import { tenantStream } from '../events/streams.ts'
import { bearerScopes, type Scope } from '../events/tenant.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'

export interface Keys {
  /** The master key, of 32 bytes. */
  readonly masterKey: Buffer
  readonly jwtSecret: Buffer
}
type KeyConfig = Pick<Config, 'KOLBAK_DATA_DIR' | 'KOLBAK_MASTER_KEY' | 'KOLBAK_JWT_SECRET'>

/**
 * Returns the configured keys. Keys that are not configured are generated at the first start and kept in `keys.json` of the data folder.
 * Throws KolbakError `keys_lost` when `keys.json` is missing although data were sealed with its keys, and `data_dir` when it cannot be read.
 * @param hasData whether the database holds sealed data
 */
export async function readKeys(config: KeyConfig, log: Log, hasData: () => Promise<boolean>): Promise<Keys> {
  const { KOLBAK_DATA_DIR: dataDir, KOLBAK_MASTER_KEY: masterKey, KOLBAK_JWT_SECRET: jwtSecret } = config
  if (masterKey !== undefined && jwtSecret !== undefined) return { masterKey: of32Bytes(masterKey), jwtSecret }
  const path = join(resolve(dataDir), 'keys.json')
  if (!(await exists(path)) && (await hasData()))
    throw new KolbakError(
      'keys_lost',
      `${path} is missing, and the data of this folder are sealed with its master key: put the file back from your copy, ` +
        'or set KOLBAK_MASTER_KEY and KOLBAK_JWT_SECRET to the values in it. Without the master key the data cannot be read; ' +
        'to begin anew without them, set KOLBAK_DATA_DIR to a new folder.',
    )
  await mkdir(dataDir, { recursive: true }).catch(unusable(dataDir))
  const { value, isNew } = await readOrCreate(path, () => ({
    master_key: randomBytes(32).toString('base64url'),
    jwt_secret: randomBytes(32).toString('base64url'),
  }))
  if (isNew) log.info({ path }, 'keys.generated')
  const keyOf = (name: 'master_key' | 'jwt_secret'): Buffer => {
    const key = Buffer.from(typeof value[name] === 'string' ? value[name] : '', 'base64url')
    if (key.length < 32) throw new KolbakError('data_dir', `${path} has no ${name} of 32 bytes or more: put the file back from your copy.`)
    return key
  }
  return { masterKey: of32Bytes(masterKey ?? keyOf('master_key')), jwtSecret: jwtSecret ?? keyOf('jwt_secret') }
}

export interface AdminClient {
  readonly clientId: string
  /** The file that holds the client's generated secret, or null when the secret is configured. */
  readonly file: string | null
  /**
   * The last position of the tenant's stream, or null when nothing was read or stored. A read model that has reached this position has the client.
   */
  readonly position: Checkpoint | null
}
interface AdminDeps {
  readonly streams: CommandStreams
  readonly keyring: Pick<Keyring, 'lookup'>
  readonly config: Pick<Config, 'KOLBAK_DATA_DIR' | 'KOLBAK_ADMIN_CLIENT_ID' | 'KOLBAK_ADMIN_CLIENT_SECRET'>
  readonly log: Log
  now(): string
}

/**
 * Registers the tenant `default` and issues its admin client. Both are done once, even when several processes start together. Throws
 * KolbakError `invalid_config` when the configured client has been revoked.
 */
export async function ensureAdmin(deps: AdminDeps): Promise<AdminClient> {
  const { KOLBAK_ADMIN_CLIENT_ID: clientId, KOLBAK_ADMIN_CLIENT_SECRET: clientSecret } = deps.config
  const tenant = commandsOfDefaultTenant(deps)
  await tenant.register()
  const client =
    clientId === undefined || clientSecret === undefined
      ? await ensureGeneratedClient(tenant, deps)
      : await ensureConfiguredClient(tenant, clientId, clientSecret, deps)
  return { ...client, position: tenant.position }
}

/** Issues the configured client. If the client exists already, it gets the configured secret. */
async function ensureConfiguredClient(tenant: DefaultTenant, clientId: string, secret: string, { log }: AdminDeps) {
  if (!(await tenant.issueAdmin(clientId, secret)))
    try {
      if (await tenant.rotateSecret(clientId, secret)) log.info({ clientId }, 'admin_client.rotated')
    } catch (cause) {
      if (codeOf(cause) !== 'not_found') throw cause
      const sentence = 'KOLBAK_ADMIN_CLIENT_ID names a client that has been revoked: name another one.'
      throw new KolbakError('invalid_config', sentence, { cause })
    }
  return { clientId, file: null }
}

/**
 * Issues a generated client. Its secret is written to `admin-client.json` (0600) before the client is issued. So if a start is killed between these
 * two steps, the next start completes them.
 */
async function ensureGeneratedClient(tenant: DefaultTenant, { config: { KOLBAK_DATA_DIR: dataDir }, log }: AdminDeps) {
  await mkdir(dataDir, { recursive: true }).catch(unusable(dataDir))
  const file = join(dataDir, 'admin-client.json')
  // A first start on another machine may have issued a client already. The file is then in the data folder of that machine.
  const existing = await tenant.findAdmin()
  if (existing !== undefined && !(await exists(file))) return { clientId: existing, file: null }
  const { value } = await readOrCreate(file, () => ({
    client_id: `client_${ulid()}`,
    client_secret: randomBytes(32).toString('base64url'),
  }))
  const isNew = await tenant.issueAdmin(value.client_id, value.client_secret)
  if (isNew) log.info({ clientId: value.client_id, file }, 'admin_client.issued')
  return { clientId: value.client_id, file }
}

/**
 * The commands that a start sends to the tenant `default`. `register`, `issueAdmin` and `rotateSecret` return false when they changed nothing, for example
 * because another process was first.
 */
interface DefaultTenant {
  register(): Promise<boolean>
  issueAdmin(clientId: string, secret: string): Promise<boolean>
  /** Throws KolbakError `not_found` when the client has been revoked. */
  rotateSecret(clientId: string, secret: string): Promise<boolean>
  /** Returns the id of an admin client, or undefined. */
  findAdmin(): Promise<string | undefined>
  /** The last position of the stream that a command has read or written. */
  readonly position: Checkpoint | null
}

/** The scopes of the first client. The one who operates the service should not be its auditor, so `audit` is not among them. */
const adminScopes: readonly Scope[] = bearerScopes.filter((scope) => scope !== 'audit')

function commandsOfDefaultTenant({ streams, keyring, log, now }: AdminDeps): DefaultTenant {
  const caller: Caller = { tenant: defaultTenant, actor: 'system:first-start', scopes: new Set(adminScopes), key_id: null }
  const stream = tenantStream(defaultTenant)
  const hmac = (secret: string) => keyring.lookup('client-secret', secret)
  let position: Checkpoint | null = null
  const command = async (tenantCommand: TenantCommand, create = false) => {
    const handled = await handle(streams, tenantDecider, stream, tenantCommand, { caller, correlation_id: ulid(), now: now(), create })
    position = handled.position
    return handled
  }
  const runOnce = async (tenantCommand: TenantCommand, create = false): Promise<boolean> => {
    try {
      await command(tenantCommand, create)
      return true
    } catch (error) {
      if (codeOf(error) === 'already_exists') return false
      throw error
    }
  }
  return {
    async register() {
      const isNew = await runOnce({ type: 'RegisterTenant', id: defaultTenant, name: 'default' }, true)
      if (isNew) log.info({ tenant: 'default' }, 'tenant.registered')
      return isNew
    },
    issueAdmin: (clientId, secret) =>
      runOnce({ type: 'IssueClient', client_id: clientId as ClientId, name: 'admin', scopes: adminScopes, secret_hmac: hmac(secret) }),
    async rotateSecret(clientId, secret) {
      const rotation = {
        type: 'RotateClientSecret',
        client_id: clientId as ClientId,
        secret_hmac: hmac(secret),
        previous_secret_until: null,
      } as const
      return (await command(rotation)).changed
    },
    async findAdmin() {
      // The command changes nothing. It is used to read the tenant's state.
      const { state } = await command({ type: 'ChangeTenantSettings', limits: {} })
      return [...state.clients.values()].find((client) => !client.revoked && client.scopes.includes('admin'))?.client_id
    },
    get position() {
      return position
    },
  }
}

/** Reads a file of the data folder. A missing file is created (0600) and synced to disk. */
async function readOrCreate<T extends object>(path: string, create: () => T): Promise<{ value: T; isNew: boolean }> {
  try {
    return { value: JSON.parse(await readFile(path, 'utf8')) as T, isNew: false }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT')
      throw new KolbakError('data_dir', `${path} cannot be read: put the file back from your copy, or make it readable.`, { cause: error })
  }
  const value = create()
  const file = await open(`${path}.new`, 'w', 0o600).catch(unusable(path))
  await file.writeFile(`${JSON.stringify(value, null, 2)}\n`)
  await file.sync()
  await file.close()
  await rename(`${path}.new`, path)
  return { value, isNew: true }
}

/** Throws KolbakError `data_dir` for a path that cannot be written. */
const unusable = (path: string) => (cause: unknown) => {
  throw new KolbakError('data_dir', `${path} cannot be written: set KOLBAK_DATA_DIR to a folder that Kolbak may write.`, { cause })
}
const of32Bytes = (key: Buffer): Buffer => (key.length === 32 ? key : createHash('sha256').update(key).digest())
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
