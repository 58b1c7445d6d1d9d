import { tmpdir } from 'node:os'
import { expect } from 'chai'
import type { Caller } from '../../src/commands/caller.ts'
import { createCommandStreams } from '../../src/commands/command-streams.ts'
import { handle } from '../../src/commands/handler.ts'
import { type TenantCommand, tenantDecider } from '../../src/commands/tenant.ts'
import { type ClientId, defaultTenant } from '../../src/events/ids.ts'
import { tenantStream } from '../../src/events/streams.ts'
import { silentLog } from '../../src/lib/log.ts'
import { ensureAdmin } from '../../src/service/first-start.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'
import { memoryKeyring } from '../support/memory-keyring.ts'

describe('the configured admin client', () => {
  const secret = 'a-secret-of-the-tests-that-is-long-enough'
  const world = () => {
    const store = memoryEventStore()
    const keyring = memoryKeyring()
    const streams = createCommandStreams(store, keyring)
    const now = () => '2026-01-01T00:00:00.000Z'
    const caller: Caller = { tenant: defaultTenant, actor: 'client:other', scopes: new Set(), key_id: null }
    return {
      types: () => store.events.map((event) => event.type),
      start: (clientId: string, clientSecret: string) =>
        ensureAdmin({
          ...{ streams, keyring, log: silentLog, now },
          config: { KOLBAK_DATA_DIR: tmpdir(), KOLBAK_ADMIN_CLIENT_ID: clientId, KOLBAK_ADMIN_CLIENT_SECRET: clientSecret },
        }),
      command: (command: TenantCommand) =>
        handle(streams, tenantDecider, tenantStream(defaultTenant), command, { caller, correlation_id: 'c', now: now() }),
    }
  }
  it('is issued once, and rotated when the configured secret changes', async () => {
    const { start, types } = world()
    await start('first', secret)
    await start('first', secret)
    expect(types()).to.deep.equal(['TenantRegistered', 'ClientIssued'])
    await start('first', `${secret}-another`)
    expect(types()).to.deep.equal(['TenantRegistered', 'ClientIssued', 'ClientSecretRotated'])
  })
  it('is refused with an error that says what to do after it was revoked', async () => {
    const { start, command } = world()
    await start('first', secret)
    await start('second', secret)
    await command({ type: 'RevokeClient', client_id: 'first' as ClientId })
    const error = await start('first', secret).then(
      () => null,
      (reason: unknown) => reason,
    )
    expect(error).to.include({ code: 'invalid_config' })
    expect(String(error)).to.contain('KOLBAK_ADMIN_CLIENT_ID')
  })
})
