import { freshDatabase, type TestDatabase } from './database.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { endService, givenKeys, type RunningService, startService, temporaryFolder } from './service.ts'
import type { Client, WebhookAnswer } from './service-client.ts'

/** Processes on one database, and a receiver; anew for each test. */
export interface Cluster {
  readonly db: TestDatabase
  readonly receiver: Receiver
  /** Starts one more process. */
  start(variables?: Record<string, string>): Promise<RunningService>
  /** The webhook-ids that have come to a path, in order. */
  ids(path: string): string[]
  /** Subscribes a path of the receiver to what `load` posts. */
  subscribe(api: Client, path: string): Promise<WebhookAnswer>
}

/** To be called in a suite's body: it registers what begins and ends each test. @param common variables of all processes */
export function cluster(common: Record<string, string> = {}): Cluster {
  let db: TestDatabase
  let receiver: Receiver
  let started: { service: RunningService; folder: string }[]
  beforeEach(async () => {
    started = []
    ;[db, receiver] = await Promise.all([freshDatabase(), startReceiver()])
  })
  afterEach(async () => {
    await Promise.all(started.map(({ service, folder }) => endService(service, folder)))
    await receiver.close()
    await db.drop()
  })
  return {
    get db() {
      return db
    },
    get receiver() {
      return receiver
    },
    async start(variables = {}) {
      const folder = await temporaryFolder()
      const service = await startService(folder, { DATABASE_URL: db.url, ...givenKeys, ...common, ...variables })
      started.push({ service, folder })
      return service
    },
    ids: (path) => receiver.received(path).map((request) => String(request.headers['webhook-id'])),
    subscribe: (api, path) => api.post('/v1/webhooks', { callback_url: receiver.url(path), event: 'load.*' }),
  }
}
