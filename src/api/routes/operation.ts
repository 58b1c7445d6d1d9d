import type { Credentials } from '../credentials.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError } from '../errors.ts'
import { openRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { live, ready } from '../schemas/operation.ts'

export const operationTag = 'Operation'

/** What operators and their tools ask; no tenant's data is in it. */
export function createOperationRoutes(
  { health, metrics, scrape }: Pick<ApiDependencies, 'health' | 'metrics' | 'scrape'>,
  credentials: Credentials,
  document: () => string,
): Route[] {
  const tag = operationTag
  return [
    openRoute({
      method: 'GET',
      path: '/health/live',
      operationId: 'getLive',
      summary: 'Whether the process runs',
      tag,
      credentials: 'none',
      quiet: true,
      responses: { 200: { description: 'It does.', schema: envelope(live) } },
      handler: async () => envelopeResult(200, { status: 'live' }),
    }),
    openRoute({
      method: 'GET',
      path: '/health/ready',
      operationId: 'getReady',
      summary: 'Whether it can do its work; operators also see what ails it',
      tag,
      credentials: 'none',
      quiet: true,
      errors: ['not_ready', 'unauthorized', 'too_many_failed_credentials', 'tenant_suspended'],
      responses: { 200: { description: 'It can.', schema: envelope(ready) } },
      async handler({ headers, address }) {
        const [report, operator] = await Promise.all([health(), credentials.isOperator(headers, address)])
        const ailing = report.checks.filter((check) => !check.ok)
        if (!report.ready)
          throw new ApiError('not_ready', 'Not ready: try again.', {
            headers: { 'retry-after': '1' },
            ...(operator ? { details: ailing.map(({ name, message = 'is not ok' }) => ({ path: name, message })) } : {}),
          })
        return envelopeResult(200, { status: 'ready', ...(operator ? { checks: report.checks } : {}) })
      },
    }),
    openRoute({
      method: 'GET',
      path: '/metrics',
      operationId: 'getMetrics',
      summary: 'Measurements, as Prometheus reads them',
      tag,
      credentials: 'operator',
      quiet: true,
      responses: { 200: { description: 'Of all processes that share the port.', type: 'text/plain', schema: { type: 'string' } } },
      handler: async () => ({ status: 200, text: { type: metrics.contentType, content: await scrape() } }),
    }),
    openRoute({
      method: 'GET',
      path: '/openapi.json',
      operationId: 'getOpenApi',
      summary: 'This document',
      tag,
      credentials: 'none',
      responses: { 200: { description: 'OpenAPI 3.1.', schema: { type: 'object' } } },
      handler: async () => ({ status: 200, text: { type: 'application/json; charset=utf-8', content: document() } }),
    }),
  ]
}
