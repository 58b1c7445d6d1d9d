import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { apiKeys } from '../../src/projections/api-keys.ts'
import { audit } from '../../src/projections/audit.ts'
import { keyVersions } from '../../src/projections/key-versions.ts'
import { tenants } from '../../src/projections/tenants.ts'
import { webhookVersions } from '../../src/projections/webhook-versions.ts'
import { webhooks } from '../../src/projections/webhooks.ts'
import { fixtureKeyring } from '../support/event-fixtures.ts'

const projections = [apiKeys(fixtureKeyring), audit, keyVersions, tenants(fixtureKeyring), webhookVersions, webhooks]
const hashOf = (tables = '') =>
  createHash('sha256').update(tables.replaceAll(/--.*$/gm, '').replaceAll(/\s+/g, ' ')).digest('hex').slice(0, 8)

describe('the versions of read models', () => {
  // The tables follow from declared fields (events/webhook.ts and others), so a change there can change the tables unnoticed.
  it('are raised when their tables change', () => {
    expect(projections.map(({ name, version, tables }) => `${name} ${version}: ${hashOf(tables)}`)).to.deep.equal([
      'api_keys 3: 0f340b0b',
      'audit 4: cbd30136',
      'key_versions 1: 829f4f4f',
      'tenants 4: 2659c226',
      'webhook_versions 1: 8157ed57',
      'webhooks 4: 163599de',
    ])
  })
})
