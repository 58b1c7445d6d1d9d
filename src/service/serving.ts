import type { Registry } from 'prom-client'
import { createAccessLog } from '../api/access-log.ts'
import { createApi } from '../api/api.ts'
import type { HealthReport } from '../api/dependencies.ts'
import type { HttpServer } from '../api/http-server.ts'
import type { OperationsReport } from '../api/responses.ts'
import type { AddressPolicy } from '../lib/addresses.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { findClient } from '../projections/clients.ts'
import { createKeyUsage } from '../projections/key-usage.ts'
import { createLiveDeliveryLog } from '../projections/live-delivery-log.ts'
import { createMessageIndex } from '../projections/message-index.ts'
import { noteEnd } from './engine-checks.ts'
import type { Shared } from './shared.ts'
import { version } from './version.ts'

interface ServingOptions {
  /** The server, which listens already. */
  readonly server: HttpServer
  readonly policy: AddressPolicy
  readonly registry: Registry
  /** Whether the process serves only health and metrics, because it has no role `api`. */
  readonly operationOnly: boolean
  health(): Promise<HealthReport>
  operations(): Promise<OperationsReport>
  /** Returns the metrics in Prometheus' text format. */
  scrape(): Promise<string>
}

/** Opens the API on a server that listens already. */
export function serveApi(shared: Shared, { server, policy, registry, operationOnly, health, operations, scrape }: ServingOptions): void {
  const { config, store, bus, deliveryLog, streams, keyring, macs, waiter, pools, live, notices, jwtSecret, parts, log } = shared
  const usage = createKeyUsage({ pool: pools.reads, onError: (error) => log.warn({ error }, 'key_usage.failed') })
  parts.add('key usage', usage.close)
  const access = createAccessLog({
    ...{ store, keyring, log },
    isReady: () => macs.start !== null && live.isVersion02Gone,
    tenantOf: async (id) => (await findClient(pools.reads, id))?.tenant ?? null,
  })
  parts.add('access log', access.close)
  createApi(
    {
      access,
      logKey: async () => (await openLogSigner(keyring)).vkey,
      ...{ streams, store, bus, keyring, macs, waiter, usage, notices, health, operations, scrape, log },
      noteAccepted: () => noteEnd({ bus, pool: pools.reads }),
      deliveryLog: createLiveDeliveryLog({ log: deliveryLog, pool: pools.reads }),
      messages: createMessageIndex(pools.reads),
      pool: pools.reads,
      addressPolicy: policy,
      processes: () => live.count('api'),
      metrics: registry,
      now: Date.now,
      settings: {
        ...{ version, jwtSecret },
        tokenTtlSeconds: config.KOLBAK_TOKEN_TTL_SECONDS,
        metricsToken: config.KOLBAK_METRICS_TOKEN,
        trustProxy: config.KOLBAK_TRUST_PROXY,
        hasUi: config.KOLBAK_UI,
        retentionDays: config.KOLBAK_RETENTION_DAYS,
        requestTimeoutMs: config.KOLBAK_REQUEST_TIMEOUT_MS,
        maxWebhooksPerTenant: config.KOLBAK_MAX_WEBHOOKS_PER_TENANT,
        maxPayloadDepth: config.KOLBAK_MAX_PAYLOAD_DEPTH,
        eventsPerSecond: config.KOLBAK_EVENTS_PER_SECOND,
        requestsPerSecond: config.KOLBAK_REQUESTS_PER_SECOND,
      },
    },
    { server, operationOnly },
  )
}
