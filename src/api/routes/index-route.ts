import { openRoute, type Route } from '../route.ts'
import { envelopeResult } from '../route-results.ts'
import { envelope } from '../schemas/common.ts'
import { word } from '../schemas/json-schema.ts'
import { index } from '../schemas/operation.ts'

export const operationTag = 'Operation'

/** The paths that the response of `/` lists. */
const paths = { docs: '/docs/', openapi: '/openapi.json', health: '/health', api: '/v1' }

/**
 * Returns the route of `/`, at which people and programs begin.
 * @param pagePath the path of the page that browsers are led to
 */
export const createIndexRoute = (version: string, pagePath: '/ui/' | '/docs/'): Route =>
  openRoute({
    method: 'GET',
    path: '/',
    operationId: 'getIndex',
    summary: 'Find the other paths',
    description:
      'Returns the paths of this service that need no credential, and leads a browser to the dashboard, or to `/docs` if there is no dashboard.',
    tag: operationTag,
    credentials: 'none',
    quiet: true,
    responses: {
      200: { description: 'The paths.', schema: envelope(index) },
      303: { description: 'The request accepts HTML, as that of a browser does.', headers: { Location: word(pagePath) } },
    },
    handler: async ({ headers }) =>
      headers.accept?.includes('text/html')
        ? { status: 303, headers: { location: pagePath, vary: 'Accept' } }
        : envelopeResult(200, { name: 'Kolbak', version, ...paths }, { vary: 'Accept' }),
  })
