import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { startApi, type TestApi } from '../support/api.ts'

describe('GET /docs', () => {
  let api: TestApi
  before(async () => {
    api = await startApi()
  })
  after(() => api.stop())

  it('returns 200 with a page whose scripts, styles and images all come from this server', async () => {
    const page = await fetch(`${api.origin}/docs/`)
    expect(page.status).to.equal(200)
    const html = await page.text()
    const assetPaths = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!)
    expect(assetPaths).to.include('/docs/assets/swagger-ui-bundle.js')
    for (const path of assetPaths) {
      expect(path).to.match(/^\/docs\//)
      const asset = await fetch(api.origin + path)
      expect(asset.status, path).to.equal(200)
      await asset.arrayBuffer()
    }
    expect(page.headers.get('content-security-policy')).to.match(/default-src 'self'/)
    expect(await (await fetch(`${api.origin}/docs/start.js`)).text()).to.include("url: '/openapi.json'")
  })
  it('shows the request that receivers get, which is a reference in /openapi.json', async () => {
    const options: { responseInterceptor?: (response: object) => { text: string } } = {}
    const script = await (await fetch(`${api.origin}/docs/start.js`)).text()
    runInNewContext(script, { SwaggerUIBundle: (givenOptions: object) => Object.assign(options, givenOptions) })
    const shown = async (path: string) => {
      const url = api.origin + path
      return options.responseInterceptor!({ url, text: await (await fetch(url)).text() }).text
    }
    const { webhooks } = JSON.parse(await shown('/openapi.json')) as { webhooks: { event: { post: { operationId: string } } } }
    expect(webhooks.event.post.operationId).to.equal('receiveEvent')
    expect(JSON.parse(await shown('/health/live'))).to.have.property('data')
  })
  it('returns 404 for all other files of the package', async () => {
    for (const path of ['/docs/assets/package.json', '/docs/assets/../package.json', '/docs/assets/%2e%2e/package.json', '/docs/nothing'])
      expect((await fetch(api.origin + path)).status, path).to.equal(404)
  })
})
