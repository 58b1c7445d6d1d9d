import { type RequestHandler, Router, static as serveStatic } from 'express'
import helmet from 'helmet'
import absolutePath from 'swagger-ui-dist/absolute-path.js' // The main module of the package would load all of Swagger UI.

const page = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Kolbak API</title>
    <link rel="stylesheet" href="/docs/assets/swagger-ui.css">
    <link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/docs/assets/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`
// The script is a separate file, because the content security policy forbids scripts inside a page. Nothing is loaded from another host.
// Swagger UI shows only webhooks that are described in place, and generators of clients need them as references (openapi-webhooks.ts).
const script = `function describeWebhooksInPlace(response) {
  if (!response.url.endsWith('/openapi.json')) return response
  const document = JSON.parse(response.text)
  return { ...response, text: JSON.stringify({ ...document, webhooks: document.components.pathItems }) }
}
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
  responseInterceptor: describeWebhooksInPlace,
})
`
const servedAssets = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']

/** Serves Swagger UI: a page on which callers read the description of the API and try requests. */
export function createSwaggerUi(): Router {
  const router = Router({ caseSensitive: true, strict: true })
  const policy = helmet.contentSecurityPolicy({
    useDefaults: false,
    directives: {
      'default-src': ["'self'"],
      'style-src': ["'self'", "'unsafe-inline'"],
      'img-src': ["'self'", 'data:'],
      'object-src': ["'none'"],
      'base-uri': ["'self'"],
      'frame-ancestors': ["'none'"],
    },
  })
  const text =
    (type: string, content: string): RequestHandler =>
    (_req, res) => {
      res.type(type).send(content)
    }
  router.use(policy)
  router.get('/', text('html', page))
  router.get('/start.js', text('js', script))
  const assets = serveStatic(absolutePath(), { index: false, fallthrough: true, maxAge: '1h' })
  router.use('/assets', (req, res, next) => (servedAssets.includes(req.path.slice(1)) ? assets(req, res, next) : next()))
  return router
}
