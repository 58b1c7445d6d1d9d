import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { createPostgresEventStore } from '../../src/adapters/postgres/event-store.ts'
import type { FieldsOf } from '../../src/events/fields.ts'
import { eventTypes } from '../../src/events/schema.ts'
import { fieldAad, openEvent, openValue, sealEvent, sealValue, type UnsealedEvent } from '../../src/events/sealed-fields.ts'
import { openKeyring } from '../../src/lib/keyring.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createVault } from '../../src/lib/seal.ts'
import { freshDatabase } from '../support/database.ts'
import { sampleEvent, sampleTypes, streamOf } from '../support/sample-events.ts'

const dataKey = randomBytes(32)
const vault = createVault({ key_id: 1, dataKey, keyOf: () => dataKey, fingerprintKey: randomBytes(32) })

describe('sealed fields', () => {
  it('are unreadable in the event store, and all other fields are readable, for every event type', async () => {
    const { pool, drop } = await freshDatabase()
    try {
      const store = createPostgresEventStore({ pool, log: silentLog, identity: 'test', dayStreamMaxAgeSeconds: 86_400 * 36_500 })
      const keyring = await openKeyring(pool, randomBytes(32))
      expect(sampleTypes.toSorted()).to.deep.equal(Object.keys(eventTypes).sort())
      for (const type of sampleTypes) {
        const sample = sampleEvent(type)
        await keyring.create(sample.metadata.tenant)
        const tenantVault = await keyring.vault(sample.metadata.tenant)
        await store.append(streamOf(type), [sealEvent(tenantVault, streamOf(type), sample)], 'any')
      }
      const { rows } = await pool.query<{ type: string; data: string }>(
        'select type, data from command_events union all select type, data from day_events',
      )
      expect(rows).to.have.length(sampleTypes.length)
      for (const type of sampleTypes) {
        const stored = rows.find((row) => row.type === type)!.data
        for (const [field, value] of Object.entries(sampleEvent(type).data)) {
          const as = Object.entries(eventTypes[type].fields).find(([name]) => name === field)?.[1]
          if (value === null) continue
          const text = JSON.stringify(value)
          if (as === 'clear') expect(stored, `${type}.${field}`).to.contain(`"${field}":${text}`)
          else expect(stored, `${type}.${field}`).to.not.contain(text.replaceAll('"', ''))
        }
      }
      await store.close()
    } finally {
      await drop()
    }
  })
  it('open to the values that were sealed', () => {
    for (const type of sampleTypes) {
      const sample = sampleEvent(type)
      const sealed = sealEvent(vault, streamOf(type), sample)
      expect(sealed.metadata.schema).to.equal(eventTypes[type].schema)
      expect(openEvent(vault, streamOf(type), sealed).data).to.deep.equal(sample.data)
    }
  })
  it('may be objects, which are sealed as JSON', () => {
    const headers = { authorization: 'Bearer hunter2', 'x-many': ['a', 'b'] }
    const aad = fieldAad('tenant', 'webhook', 'custom_headers')
    const sealed = sealValue(vault, aad, 'sealed_json', headers)
    expect(sealed).to.be.a('string').and.to.not.contain('hunter2')
    expect(openValue(vault, aad, 'sealed_json', sealed)).to.deep.equal(headers)
    expect(() => sealValue(vault, aad, 'sealed', headers)).to.throw(
      TypeError,
      'custom_headers is declared as a sealed text and is not a text',
    )
    expect(() => openValue(vault, aad, 'sealed_json', headers)).to.throw(
      TypeError,
      'custom_headers is declared as sealed and is not a text',
    )
  })
  it('are never stored in the clear when a declaration or a vault is missing', () => {
    const created: UnsealedEvent = sampleEvent('WebhookCreated')
    const seal = (event: UnsealedEvent, sealingVault: typeof vault | null = vault) =>
      sealEvent(sealingVault, streamOf('WebhookCreated'), event)
    expect(() => seal({ ...created, data: { ...created.data, colour: 'x' } })).to.throw(
      TypeError,
      'WebhookCreated.colour is declared neither sealed nor clear',
    )
    expect(() => seal({ ...created, type: 'WebhookPainted' })).to.throw(TypeError, 'the event type WebhookPainted is not declared')
    expect(() => seal({ ...created, data: { ...created.data, description: { an: 'object' } } })).to.throw(TypeError, 'is not a text')
    expect(() => seal(created, null)).to.throw(TypeError, 'there is no vault to seal it')
  })
  it('do not compile if their declaration does not fit their type', () => {
    interface Painted {
      Painted: { id: string; colours: { wall: string } | null }
    }
    const declared = { id: 'clear', colours: 'sealed_json' } as const satisfies FieldsOf<Painted>
    // @ts-expect-error: `colours` is declared neither sealed nor clear
    const forgotten = { id: 'clear' } as const satisfies FieldsOf<Painted>
    // @ts-expect-error: an object cannot be sealed as a text
    const asText = { id: 'clear', colours: 'sealed' } as const satisfies FieldsOf<Painted>
    expect([declared, forgotten, asText]).to.have.length(3)
  })
})
