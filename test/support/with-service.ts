import { type Receiver, startReceiver } from './receiver.ts'
import { endService, type RunningService, startService, temporaryFolder } from './service.ts'

/** What is there once a suite runs, under a name for the whole of its body. */
const later = <T extends object>(there: () => T): T => new Proxy({} as T, { get: (_, name) => Reflect.get(there(), name) })

export interface Restartable extends RunningService {
  readonly dataDir: string
  /** Starts a process again on the same data, when the last one has ended: from then on it is this one. */
  restart(): Promise<void>
}

/**
 * A service as a user starts it, and a receiver. To be called in a suite's body: it registers what begins and ends them.
 * @param variables or what makes them, asked at each start
 * @param each anew for each test; default once for the suite
 */
export function withService(
  variables: Record<string, string> | (() => Record<string, string>) = {},
  { each = false } = {},
): { readonly service: Restartable; readonly receiver: Receiver } {
  let dataDir: string
  let service: Restartable
  let receiver: Receiver
  const start = async () => {
    service = { ...(await startService(dataDir, typeof variables === 'function' ? variables() : variables)), dataDir, restart: start }
  }
  const [begin, end] = each ? [beforeEach, afterEach] : [before, after]
  begin(async () => {
    dataDir = await temporaryFolder()
    receiver = await startReceiver()
    await start()
  })
  end(async () => {
    await receiver.close()
    await endService(service, dataDir)
  })
  return { service: later(() => service), receiver: later(() => receiver) }
}
