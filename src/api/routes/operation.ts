import type { Credentials } from '../credentials.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError } from '../errors.ts'
import { guardedRoute, openRoute, type RawRequest, type Route } from '../route.ts'
import { envelopeResult, jsonType, noStore } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { live, ready } from '../schemas/operation.ts'
import { operationsReport } from '../schemas/operations-report.ts'
import { createIndexRoute, operationTag } from './index-route.ts'

/** The routes for operators and their tools. Their responses contain no data of tenants. */
export function createOperationRoutes(
  {
    health,
    operations,
    metrics,
    scrape,
    settings: { version, hasUi = false },
  }: Pick<ApiDependencies, 'health' | 'operations' | 'metrics' | 'scrape' | 'settings'>,
  credentials: Credentials,
  openApiDocument: () => string,
): Route[] {
  const tag = operationTag
  const readiness = {
    method: 'GET',
    tag,
    credentials: 'none',
    quiet: true,
    errors: ['not_ready', 'unauthorized', 'too_many_failed_credentials', 'tenant_suspended'],
    responses: { 200: { description: 'The process can do its work.', schema: envelope(ready) } },
    async handler({ headers, address }: Pick<RawRequest, 'headers' | 'address'>) {
      const [report, isOperator] = await Promise.all([health(), credentials.isOperator(headers, address)])
      if (report.ready) return envelopeResult(200, { status: 'ready', ...(isOperator ? { checks: report.checks } : {}) })
      const failedChecks = report.checks.filter((check) => !check.ok)
      const details = failedChecks.map(({ name, message = 'is not ok' }) => ({ path: name, message }))
      throw new ApiError('not_ready', 'Not ready: try again.', {
        headers: { 'retry-after': '1' },
        ...(isOperator ? { details } : {}),
      })
    },
  } as const
  return [
    createIndexRoute(version, hasUi ? '/ui/' : '/docs/'),
    openRoute({
      method: 'GET',
      path: '/health/live',
      operationId: 'getLive',
      summary: 'Check whether the process runs',
      description:
        'Tells a supervisor whether to restart the process. It says nothing about databases, because a restart would not help them.',
      tag,
      credentials: 'none',
      quiet: true,
      responses: { 200: { description: 'The process runs.', schema: envelope(live) } },
      handler: async () => envelopeResult(200, { status: 'live' }),
    }),
    openRoute({
      ...readiness,
      path: '/health/ready',
      operationId: 'getReady',
      summary: 'Check whether the process can do its work; operators also see what is wrong',
      description:
        'Tells a load balancer whether to send requests here. It fails while the database or another engine cannot be reached, and during start and shutdown. Operators also see each check.',
    }),
    openRoute({
      ...readiness,
      path: '/health',
      operationId: 'getHealth',
      summary: 'Check the health',
      description: 'Returns the same as `/health/ready`, for people and for tools that are set to this common path.',
    }),
    openRoute({
      method: 'GET',
      path: '/metrics',
      operationId: 'getMetrics',
      summary: 'Read metrics in the format of Prometheus',
      description: 'Returns counters and histograms of the API, the dispatcher and the projections in the text format of Prometheus.',
      tag,
      credentials: 'operator',
      quiet: true,
      responses: {
        200: {
          description: 'The metrics of all processes that share the port.',
          type: 'text/plain',
          schema: { type: 'string', examples: ['kolbak_http_requests_total{operation="postEvent",status="202"} 1042\n'] },
        },
      },
      handler: async () => ({ status: 200, text: { type: metrics.contentType, content: await scrape() } }),
    }),
    createReportRoute(operations),
    openRoute({
      method: 'GET',
      path: '/openapi.json',
      operationId: 'getOpenApi',
      summary: 'This document',
      description: 'Returns this description, from which clients can be generated. `/docs` shows it to people.',
      tag,
      credentials: 'none',
      responses: {
        200: {
          description: 'The OpenAPI 3.1 description of this API.',
          schema: { type: 'object', additionalProperties: true, examples: [{ openapi: '3.1.0', info: { title: 'Kolbak' } }] },
        },
      },
      handler: async () => ({ status: 200, text: { type: jsonType, content: openApiDocument() } }),
    }),
  ]
}

const createReportRoute = (operations: ApiDependencies['operations']): Route =>
  guardedRoute({
    method: 'GET',
    path: '/v1/operations',
    operationId: 'getOperations',
    summary: 'Read the state of the whole service, for the people who operate it',
    description:
      'Returns the processes, the engines, the work that is not done, the projections, the quarantined streams, the leases, the storage and the last backup. It is meant to be read every few seconds. It contains ids of accounts and webhooks, and no data of them.',
    tag: operationTag,
    credentials: 'bearer',
    scope: 'admin',
    quiet: true,
    responses: { 200: { description: 'The state of the service.', schema: envelope(operationsReport) } },
    handler: async () => envelopeResult(200, await operations(), noStore),
  })
