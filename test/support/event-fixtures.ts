import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashOf } from '../../src/commands/command-streams.ts'
import type { NewEvent } from '../../src/events/envelope.ts'
import { type EventType, eventTypes, withoutImplied } from '../../src/events/schema.ts'
import { sealEvent } from '../../src/events/sealed-fields.ts'
import { isDayStream, type StreamName } from '../../src/events/streams.ts'
import type { Keyring } from '../../src/lib/keyring.ts'
import { createVault } from '../../src/lib/seal.ts'
import { sampleEvent, sampleTypes, streamOf } from './sample-events.ts'

const folder = join(import.meta.dirname, '..', 'fixtures', 'events')
const key = Buffer.alloc(32, 'the key that fixtures are sealed under')
/** The vault that the fixtures are sealed under. */
export const fixtureVault = createVault({ key_id: 1, dataKey: key, keyOf: () => key, fingerprintKey: key })
export const fixtureKeyring: Keyring = {
  vault: async () => fixtureVault,
  cached: () => fixtureVault,
  async create() {},
  lookup: (purpose, value) => fixtureVault.fingerprint([purpose, value]),
}

/** An event in a shape that some version of Kolbak has stored. */
export interface EventFixture extends NewEvent {
  readonly stream: StreamName
}
const fileOf = (type: EventType, schema: number) => join(folder, `${type}.${schema}.json`)
export const hasFixture = (type: EventType, schema: number): boolean => existsSync(fileOf(type, schema))
export const fixtureOf = (type: EventType, schema: number): EventFixture => JSON.parse(readFileSync(fileOf(type, schema), 'utf8'))
export const fixtureFiles = (): string[] => readdirSync(folder).sort()

/**
 * Returns one event of each type, in the order of the samples, as it was stored when no event had a schema above `level`. Together they are a
 * complete history of every aggregate.
 */
export const fixturesUpTo = (level: number): EventFixture[] =>
  sampleTypes.map((type) => fixtureOf(type, Math.min(level, eventTypes[type].schema)))

/** Writes a fixture for every present shape that has none. It never changes an existing fixture. */
function writeMissing(): void {
  mkdirSync(folder, { recursive: true })
  const hashes = new Map<StreamName, string | null>()
  for (const type of sampleTypes) {
    const { schema } = eventTypes[type]
    const stream = streamOf(type)
    const sample = sampleEvent(type)
    if (!hasFixture(type, schema)) {
      const metadata = isDayStream(stream) ? sample.metadata : { ...sample.metadata, prev: hashes.get(stream) ?? null }
      const fixture: EventFixture = { stream, ...withoutImplied(sealEvent(fixtureVault, stream, { ...sample, metadata }), stream) }
      writeFileSync(fileOf(type, schema), `${JSON.stringify(fixture, null, 2)}\n`)
      console.log(`written: ${type}.${schema}.json`)
    }
    hashes.set(stream, hashOf(fixtureOf(type, schema)))
  }
}
if (import.meta.main) writeMissing()
