import { createHash, randomBytes } from 'node:crypto'
import { access, mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { ulid } from 'ulid'
import type { Caller } from '../commands/caller.ts'
import type { CommandStreams } from '../commands/command-streams.ts'
import { handle } from '../commands/handler.ts'
import { type TenantCommand, tenantDecider } from '../commands/tenant.ts'
import type { Checkpoint } from '../events/envelope.ts'
import { type ClientId, defaultTenant } from '../events/ids.ts'
import { tenantStream } from '../events/streams.ts'
import { bearerScopes } from '../events/tenant.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Keyring } from '../lib/keyring.ts'
import type { Log } from '../lib/log.ts'

export interface Keys {
  readonly masterKey: Buffer
  readonly jwtSecret: Buffer
}

/** What is in a file of the data folder, or what is made, written there (0600, on disk before it is used) and said. */
async function kept<T extends object>(path: string, make: () => T): Promise<{ value: T; isNew: boolean }> {
  try {
    return { value: JSON.parse(await readFile(path, 'utf8')) as T, isNew: false }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new KolbakError('data_dir', `${path} cannot be read.`, { cause: error })
  }
  const value = make()
  const file = await open(`${path}.new`, 'w', 0o600)
  await file.writeFile(`${JSON.stringify(value, null, 2)}\n`)
  await file.sync()
  await file.close()
  await rename(`${path}.new`, path)
  return { value, isNew: true }
}

const of32Bytes = (key: Buffer): Buffer => (key.length === 32 ? key : createHash('sha256').update(key).digest())
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** The keys given by configuration, or generated ones kept in `keys.json` of the data folder. */
export async function readKeys(dataDir: string, given: Partial<Keys>, log: Log): Promise<Keys> {
  const { masterKey, jwtSecret } = given
  if (masterKey !== undefined && jwtSecret !== undefined) return { masterKey: of32Bytes(masterKey), jwtSecret }
  await mkdir(dataDir, { recursive: true })
  const path = join(dataDir, 'keys.json')
  const { value, isNew } = await kept(path, () => ({
    master_key: randomBytes(32).toString('base64url'),
    jwt_secret: randomBytes(32).toString('base64url'),
  }))
  if (isNew) log.info({ path }, 'keys.generated')
  return {
    masterKey: of32Bytes(masterKey ?? Buffer.from(value.master_key, 'base64url')),
    jwtSecret: jwtSecret ?? Buffer.from(value.jwt_secret, 'base64url'),
  }
}

export interface AdminClient {
  readonly clientId: string
  /** The file that holds its generated secret, or null when it was given by configuration. */
  readonly file: string | null
  /** The secret that this start has generated, for a terminal; null otherwise. Never logged. */
  readonly newSecret: string | null
  /** Where the tenant's stream stands: a read model that has reached it knows the client. */
  readonly position: Checkpoint | null
}

/**
 * Makes the tenant `default` and its admin client, once, however many processes start together.
 *
 * A client given by configuration is rotated to the secret given; one that has been revoked is refused (invalid_config). A generated one is written to `admin-client.json`
 * (0600) before it is issued, so that a start which is cut off between the two is completed by the next.
 */
export async function ensureAdmin(deps: {
  streams: CommandStreams
  keyring: Keyring
  dataDir: string
  given: { clientId: string; clientSecret: string } | null
  log: Log
  now(): string
}): Promise<AdminClient> {
  const { streams, keyring, dataDir, given, log, now } = deps
  const caller: Caller = { tenant: defaultTenant, actor: 'system:first-start', scopes: new Set(bearerScopes), key_id: null }
  const stream = tenantStream(defaultTenant)
  let position: Checkpoint | null = null
  const turn = async (command: TenantCommand, create = false) => {
    const handled = await handle(streams, tenantDecider, stream, command, { caller, correlation_id: ulid(), now: now(), create })
    position = handled.position
    return handled
  }
  /** Whether it was this process that did it: another may have been quicker. */
  const once = async (command: TenantCommand, create = false): Promise<boolean> => {
    try {
      await turn(command, create)
      return true
    } catch (error) {
      if (error instanceof KolbakError && error.code === 'already_exists') return false
      throw error
    }
  }

  if (await once({ type: 'RegisterTenant', id: defaultTenant, name: 'default' }, true)) log.info({ tenant: 'default' }, 'tenant.registered')
  const hmac = (secret: string) => keyring.lookup('client-secret', secret)
  const issue = (clientId: string, secret: string) =>
    once({ type: 'IssueClient', client_id: clientId as ClientId, name: 'admin', scopes: bearerScopes, secret_hmac: hmac(secret) })

  if (given !== null) {
    const { clientId, clientSecret } = given
    const isNew = await issue(clientId, clientSecret)
    if (!isNew) {
      const rotation: TenantCommand = {
        type: 'RotateClientSecret',
        client_id: clientId as ClientId,
        secret_hmac: hmac(clientSecret),
        previous_until: null,
      }
      try {
        if ((await turn(rotation)).changed) log.info({ clientId }, 'admin_client.rotated')
      } catch (error) {
        if (!(error instanceof KolbakError) || error.code !== 'not_found') throw error
        const sentence = 'KOLBAK_ADMIN_CLIENT_ID names a client that has been revoked: name another one.'
        throw new KolbakError('invalid_config', sentence, { cause: error })
      }
    }
    return { clientId, file: null, newSecret: null, position }
  }
  await mkdir(dataDir, { recursive: true })
  const file = join(dataDir, 'admin-client.json')
  // Another machine's first start may have issued it, with the file in its own data folder.
  const { state } = await turn({ type: 'ChangeTenantSettings', limits: {} })
  const other = [...state.clients.values()].find((client) => !client.revoked && client.scopes.includes('admin'))
  if (other !== undefined && !(await exists(file))) return { clientId: other.id, file: null, newSecret: null, position }
  const { value } = await kept(file, () => ({ client_id: `client_${ulid()}`, client_secret: randomBytes(32).toString('base64url') }))
  const isNew = await issue(value.client_id, value.client_secret)
  if (isNew) log.info({ clientId: value.client_id, file }, 'admin_client.issued')
  return { clientId: value.client_id, file, newSecret: isNew ? value.client_secret : null, position }
}
