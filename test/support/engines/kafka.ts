import { needsEngines } from './jars.ts'
import { type KafkaServer, startKafkaServer } from './kafka/server.ts'

let shared: Promise<KafkaServer> | null = null

/** The Kafka that all tests of a run share; each test has topics and groups of its own. Started by whoever asks first. */
export function startKafka(): Promise<KafkaServer> {
  shared ??= startKafkaServer()
  return shared
}

/** One that speaks TLS and asks for a login too; the caller stops it. */
export const startSecureKafka = (): Promise<KafkaServer> => startKafkaServer({ secure: true })

/** Ends the shared one, if there is one. */
export async function stopKafka(): Promise<void> {
  const server = shared
  shared = null
  // One that did not start has told whoever started it.
  await server?.then(
    (running) => running.stop(),
    () => undefined,
  )
}

/** A suite that needs a real Kafka. */
export function describeWithKafka(name: string, suite: (kafka: () => KafkaServer) => void): void {
  describe(name, () => {
    let server: KafkaServer
    before(async function () {
      await needsEngines(this, ['kafka'])
      server = await startKafka()
    })
    suite(() => server)
  })
}
