import { expect } from 'chai'
import { type KeyState, keyDecider } from '../../src/commands/key.ts'
import { type TenantState, tenantDecider } from '../../src/commands/tenant.ts'
import { type WebhookState, webhookDecider } from '../../src/commands/webhook.ts'
import type { Checkpoint, NewEvent, RecordedEvent } from '../../src/events/envelope.ts'
import type { ClientId } from '../../src/events/ids.ts'
import { EventNotReadable, type EventType, eventTypes, upcast } from '../../src/events/schema.ts'
import { openEvent } from '../../src/events/sealed-fields.ts'
import { type EventFixture, fixtureFiles, fixtureOf, fixturesUpTo, fixtureVault, hasFixture } from '../support/event-fixtures.ts'
import { sampleData, sampleEvent, sampleTypes, streamOf } from '../support/sample-events.ts'

/** Fields that came without a new number of the schema, because the former version must still read the events during an upgrade. */
const addedLater: ReadonlySet<string> = new Set([
  'MessageRouted.producer',
  'AuditRead.lines',
  ...['DeliverySucceeded', 'DeliveryFailed', 'DeliveryDeadLettered'].flatMap((type) =>
    ['response_headers', 'timings', 'waited_since'].map((field) => `${type}.${field}`),
  ),
])

const highest = Math.max(...sampleTypes.map((type) => eventTypes[type].schema))
const levels = Array.from({ length: highest }, (_, i) => i + 1)
const allShapes = sampleTypes.flatMap((type) => Array.from({ length: eventTypes[type].schema }, (_, i) => [type, i + 1] as const))

/** Returns the events of one stream as a command reads them. */
const openedStream = (fixtures: readonly EventFixture[], type: EventType): RecordedEvent[] =>
  fixtures
    .filter(({ stream }) => stream === streamOf(type))
    .map((event, revision) => ({
      ...openEvent(fixtureVault, event.stream, upcast(event)),
      stream: event.stream,
      revision,
      position: String(revision) as Checkpoint,
    }))

describe('every shape in which an event was ever stored', () => {
  it('has a fixture: `node test/support/event-fixtures.ts` writes the fixtures of new shapes', () => {
    expect(allShapes.filter(([type, schema]) => !hasFixture(type, schema))).to.deep.equal([])
    expect(fixtureFiles()).to.deep.equal(allShapes.map(([type, schema]) => `${type}.${schema}.json`).sort())
  })
  for (const [type, schema] of allShapes)
    it(`is converted to the present fields and opens: ${type} of schema ${schema}`, () => {
      const fixture = fixtureOf(type, schema)
      expect(fixture.metadata.schema).to.equal(schema)
      const { data, metadata } = openEvent(fixtureVault, fixture.stream, upcast(fixture))
      expect(metadata.schema).to.equal(eventTypes[type].schema)
      // A Changed event holds only the changed fields, so the fixture may lack a present field.
      if (type.endsWith('Changed')) expect(Object.keys(sampleData[type])).to.include.members(Object.keys(data))
      else expect(Object.keys(data)).to.have.members(Object.keys(sampleData[type]).filter((field) => !addedLater.has(`${type}.${field}`)))
      if (schema === eventTypes[type].schema) expect(sampleData[type]).to.deep.include(data)
    })
  for (const level of levels) {
    it(`leads to the same state as when it was stored: tenant, with schemas up to ${level}`, () => {
      const events = openedStream(fixturesUpTo(level), 'TenantRegistered')
      const state = events.reduce<TenantState | null>(tenantDecider.evolve, null)
      expect(state).to.deep.include({ name: 'Tenant of samples', limits: sampleData.TenantSettingsChanged.limits, is_suspended: false })
      expect(state?.clients.get('client_of_samples' as ClientId)).to.deep.include({
        name: 'Client of samples',
        scopes: ['read:events', 'read:audit'],
        secret_hmac: 'b'.repeat(64),
        previous_hmac: 'a'.repeat(64),
        previous_secret_until: '2026-03-02T08:00:00.000Z',
        generation: 3,
        revoked: true,
      })
    })
    it(`leads to the same state as when it was stored: key, with schemas up to ${level}`, () => {
      const events = openedStream(fixturesUpTo(level), 'KeyCreated')
      expect(events.reduce<KeyState | null>(keyDecider.evolve, null)).to.deep.include({
        tenant: sampleData.KeyCreated.tenant,
        key: 'KEYVALUE0002',
        previous_key: 'KEYVALUE0001',
        previous_key_until: '2026-03-02T08:00:00.000Z',
        name: 'Other key name',
        description: 'Other key description',
        scopes: ['read:webhooks', 'write:webhooks'],
        deleted: true,
      })
    })
    it(`leads to the same state as when it was stored: webhook, with schemas up to ${level}`, () => {
      const events = openedStream(fixturesUpTo(level), 'WebhookCreated')
      expect(events.reduce<WebhookState | null>(webhookDecider.evolve, null)).to.deep.include({
        tenant: sampleData.WebhookCreated.tenant,
        key_id: sampleData.WebhookCreated.key_id,
        callback_url: 'https://consumer.example.com/second',
        event: 'order.*',
        description: 'Other webhook description',
        retry_delays: [0.5],
        secret: sampleData.WebhookSecretRotated.secret,
        previous_secret: sampleData.WebhookCreated.secret,
        previous_secret_until: '2026-03-02T08:00:00.000Z',
        deleted: true,
      })
    })
  }
})

describe('an event that this version cannot read', () => {
  const event = (schema: unknown, type = 'WebhookCreated'): NewEvent => {
    const sample = sampleEvent('WebhookCreated')
    return { ...sample, type, metadata: { ...sample.metadata, schema: schema as number } }
  }
  it('has a newer schema, or no schema', () => {
    for (const schema of [eventTypes.WebhookCreated.schema + 1, 0, 1.5, '1', null, undefined])
      expect(() => upcast(event(schema)), String(schema)).to.throw(EventNotReadable, 'a WebhookCreated has the schema')
  })
  it('has a type that is not declared', () => {
    for (const type of ['WebhookPainted', 'constructor', ''])
      expect(() => upcast(event(1, type)), type).to.throw(EventNotReadable, 'no event of type')
  })
})
