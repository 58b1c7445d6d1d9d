import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { type Express, type RequestHandler, Router } from 'express'
import type { Asset, Bundle } from '../../ui/bundle.ts'
import type { Credentials } from '../credentials.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { ApiError, errorEnvelope, notFound, problemOf } from '../errors.ts'
import { addressOf } from '../express-bypass.ts'
import type { FailedCredentials } from '../failed-credentials.ts'
import { requestIdsOf, send } from '../http-response.ts'
import { CallerGone } from '../request-body.ts'
import type { RouteResult } from '../route.ts'
import { noContent } from '../route-results.ts'
import type { Tokens } from '../tokens.ts'
import { createSessions, isOwnRequest } from './sessions.ts'
import { createSignIn } from './sign-in.ts'

/** The dashboard: its page and files, its sessions, and the use of a session for requests of the API. */
export interface Ui {
  /** Serves everything below `/ui`. */
  readonly router: RequestHandler
  /** Returns a listener that carries out requests with the session of the browser, if they have no other credential. */
  withSessions(listener: RequestListener): RequestListener
}

interface UiParts {
  readonly tokens: Tokens
  readonly failedCredentials: FailedCredentials
  readonly credentials: Credentials
  readonly app: Express
}

/**
 * The page may load only files of this service, and nothing may be written into it as HTML. So a text of a receiver cannot become a script, even if
 * the dashboard had a fault.
 */
const contentSecurityPolicy = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "form-action 'none'", "base-uri 'none'"],
  ...["frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"],
].join('; ')
const pageHeaders = {
  'content-security-policy': contentSecurityPolicy,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'x-frame-options': 'DENY',
}

/** Creates the dashboard. Its files are bundled at the first request, so that a service without visitors does not load the bundler. */
export function createUi(deps: ApiDependencies, { tokens, failedCredentials, credentials, app }: UiParts): Ui {
  const { settings, now, log } = deps
  const sessions = createSessions({ secret: settings.jwtSecret, tokens, tokenTtlSeconds: settings.tokenTtlSeconds, now })
  const signIn = createSignIn({ ...deps, failedCredentials, credentials, sessions, addressOf: (req) => addressOf(app, req) })
  let bundle: Promise<Bundle> | undefined
  const loadBundle = (): Promise<Bundle> => {
    bundle ??= import('../../ui/bundle.ts').then(({ loadUi }) => loadUi())
    bundle.catch((error: unknown) => {
      log.error({ error }, 'ui.bundle_failed')
      bundle = undefined
    })
    return bundle
  }
  const router = Router({ caseSensitive: true, strict: true })
  const respondTo =
    (work: (req: IncomingMessage) => Promise<RouteResult>): RequestHandler =>
    async (req, res) => {
      const ids = requestIdsOf(req.headers)
      try {
        send(res, await work(req), ids)
      } catch (error) {
        if (error instanceof CallerGone) return
        const problem = problemOf(error)
        if (problem.status >= 500) log.error({ error, request_id: ids.correlation }, 'http.failed')
        send(res, { status: problem.status, headers: problem.headers, body: errorEnvelope(problem) }, ids)
      }
    }
  router.post(
    '/session',
    respondTo(async (req) => {
      requireOwnRequest(req)
      return { ...noContent(), headers: { 'set-cookie': await signIn(req), 'cache-control': 'no-store' } }
    }),
  )
  router.delete(
    '/session',
    respondTo(async (req) => {
      requireOwnRequest(req)
      return { ...noContent(), headers: { 'set-cookie': sessions.end(req.headers) } }
    }),
  )
  router.get('/assets/:name', async (req, res) => {
    const asset = await loadBundle().then(
      ({ assets }) => assets.get(req.params.name),
      () => undefined,
    )
    if (asset === undefined) send(res, notFoundResult(), requestIdsOf(req.headers))
    else sendAsset(req, res, asset, { 'cache-control': 'public, max-age=31536000, immutable' })
  })
  router.get('/verify.html', async (req, res) => {
    // Somebody who does not trust this service keeps the page, so it is downloaded. It is loaded seldom, and is not kept in memory.
    const page = await import('../../ui/bundle.ts').then(({ loadVerifyPage }) => loadVerifyPage())
    sendAsset(req, res, page, { 'cache-control': 'no-cache', 'content-disposition': 'attachment; filename="verify-kolbak.html"' })
  })
  // Every other path is a screen, which the page shows by its URL.
  router.get('/{*screen}', async (req, res) => {
    const page = await loadBundle().then(
      (loaded) => loaded.page,
      () => null,
    )
    if (page !== null) sendAsset(req, res, page, { 'cache-control': 'no-cache' })
    else res.status(500).type('text').send('The dashboard could not be built. The log of the service says why (ui.bundle_failed).\n')
  })
  return {
    router,
    withSessions: (listener) => (req, res) => {
      sessions.apply(req)
      listener(req, res)
    },
  }
}

function requireOwnRequest(req: IncomingMessage): void {
  if (!isOwnRequest(req)) throw new ApiError('invalid_request', 'Only the dashboard itself may send this request.')
}
const notFoundResult = (): RouteResult => ({ status: 404, body: errorEnvelope(problemOf(notFound())) })

const compressed = new WeakMap<Asset, { readonly br: Buffer; readonly gzip: Buffer }>()
/** Sends a file in the smallest encoding that the browser accepts. Each file is compressed once. */
function sendAsset(req: IncomingMessage, res: ServerResponse, asset: Asset, headers: Readonly<Record<string, string>>): void {
  const accepted = req.headers['accept-encoding'] ?? ''
  const encodings = compressed.get(asset) ?? { br: brotliCompressSync(asset.content), gzip: gzipSync(asset.content) }
  compressed.set(asset, encodings)
  const encoding = /\bbr\b/.test(accepted) ? 'br' : /\bgzip\b/.test(accepted) ? 'gzip' : null
  const content = encoding === null ? asset.content : encodings[encoding]
  res.writeHead(200, {
    ...pageHeaders,
    ...headers,
    ...(encoding === null ? {} : { 'content-encoding': encoding }),
    'content-type': asset.type,
    'content-length': content.length,
    'x-content-type-options': 'nosniff',
    vary: 'accept-encoding',
  })
  res.end(req.method === 'HEAD' ? undefined : content)
}
