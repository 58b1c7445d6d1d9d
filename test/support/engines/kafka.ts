import { needsEngines } from './jars.ts'
import { type KafkaServer, startKafkaServer } from './kafka/server.ts'

let shared: Promise<KafkaServer> | null = null

/** Returns the Kafka that all tests of a run share. The first call starts it. Each test has topics and groups of its own. */
export function startKafka(): Promise<KafkaServer> {
  shared ??= startKafkaServer()
  return shared
}

/** Starts a Kafka that also has a listener with TLS and a login. The caller must stop it. */
export const startSecureKafka = (): Promise<KafkaServer> => startKafkaServer({ secure: true })

/** Stops the shared Kafka if it was started. */
export async function stopKafka(): Promise<void> {
  const server = shared
  shared = null
  // If it did not start, the test that started it has reported the error.
  await server?.then(
    (running) => running.stop(),
    () => undefined,
  )
}

/** Defines a suite that needs a real Kafka. */
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
