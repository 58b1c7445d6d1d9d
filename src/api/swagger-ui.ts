import { type RequestHandler, Router, static as serveStatic } from 'express'
import helmet from 'helmet'
import absolutePath from 'swagger-ui-dist/absolute-path.js' // the package's main module would run all of Swagger UI here

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
// A file of its own, since the policy allows no script inside a page. Nothing is asked of any other host.
const script = `SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null, persistAuthorization: false })\n`
const shown = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']

/** The API's description in Swagger UI, served from here: a page to read and to try calls on. */
export function docs(): Router {
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
  router.use('/assets', (req, res, next) => (shown.includes(req.path.slice(1)) ? assets(req, res, next) : next()))
  return router
}
