import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { env } from 'node:process'
import axe from 'axe-core'
import { expect } from 'chai'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { startBrowser } from '../support/browser.ts'
import type { Receiver } from '../support/receiver.ts'
import { admin } from '../support/service.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { type Restartable, withService } from '../support/with-services.ts'

/** A service with a dashboard, and a browser in which somebody is signed in. */
export interface UiWorld {
  readonly service: Restartable
  readonly receiver: Receiver
  readonly api: Client
  readonly browser: Browser
  /** Opens a page with a session. The test fails if the page loads anything from elsewhere or reports an error. */
  page(options?: PageOptions): Promise<Page>
}
export interface PageOptions {
  readonly width?: number
  readonly height?: number
  readonly scheme?: 'light' | 'dark'
  /** Whether the page has a session. Default true. */
  readonly isSignedIn?: boolean
}

/** Starts the service and the browser before the tests of a suite. Skips the suite on a machine without a browser. */
export function withUi(): UiWorld {
  const { service, receiver } = withService()
  let browser: Browser | undefined
  let api: Client
  const contexts: BrowserContext[] = []
  const faults: string[] = []
  before(async function () {
    browser = await startBrowser(this)
    api = await clientOf(service.url)
  })
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close()
    expect(faults.splice(0), 'what the browser reported').to.deep.equal([])
  })
  after(() => browser?.close())
  return {
    service,
    receiver,
    get api() {
      return api
    },
    get browser() {
      return browser!
    },
    async page({ width = 1400, height = 900, scheme = 'light', isSignedIn = true } = {}) {
      const context = await browser!.newContext({ viewport: { width, height }, colorScheme: scheme, locale: 'en', timezoneId: 'UTC' })
      contexts.push(context)
      if (isSignedIn) {
        const response = await context.request.post(`${service.url}/ui/session`, {
          headers: { 'x-kolbak-ui': '1' },
          data: { client_id: admin.id, client_secret: admin.secret },
        })
        expect(response.status(), await response.text()).to.equal(204)
      }
      const page = await context.newPage()
      page.on('request', (request) => {
        if (!request.url().startsWith(`${service.url}/`)) faults.push(`foreign request: ${request.url()}`)
      })
      page.on('pageerror', (error) => faults.push(`error: ${error.message}`))
      page.on('console', (message) => {
        // The browser reports each response with an error status, which some tests provoke.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(`console: ${message.text()}`)
      })
      return page
    },
  }
}

/** Expects that axe finds nothing wrong with the page by the rules of WCAG 2.2 AA. */
export async function expectAccessible(page: Page, what: string): Promise<void> {
  await page.evaluate(axe.source)
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
  const violations = (await page.evaluate(
    `axe.run(document, { runOnly: ${JSON.stringify(tags)} }).then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html, failureSummary }) => html + ' ' + failureSummary).join(' | ')))`,
  )) as string[]
  expect(violations, what).to.deep.equal([])
}

/** Stores a picture of the page in the folder `KOLBAK_TEST_PICTURES`, if it is set. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = env.KOLBAK_TEST_PICTURES
  if (folder === undefined) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}

/** Creates webhooks in every state, and events with deliveries of every state. */
export async function fill({ api, receiver }: UiWorld): Promise<Filled> {
  receiver.setResponse('/hooks', (_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok": true, "seen": 1}'),
  )
  receiver.setResponse('/broken', (_request, response) => response.writeHead(503).end('{"error": "upstream"}'))
  receiver.setResponse('/strict', (_request, response) => response.writeHead(422).end('{"error": "unknown order"}'))
  const create = (path: string, event: string, fields: object = {}) =>
    api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event, ...fields })
  const goodWebhook = await create('/hooks', 'order.*', { description: 'Invoices of the bookkeeping' })
  const broken = await create('/broken', 'order.*', { retry_delays: [600, 3_600] })
  const strict = await create('/strict', 'order.created')
  const paused = await create('/paused', 'customer.*', { description: 'For the newsletter' })
  await api.patch(`/v1/webhooks/${paused.id}`, { is_active: false })
  await api.patch(`/v1/webhooks/${goodWebhook.id}`, { description: 'Invoices' })
  for (const [i, event] of ['order.created', 'order.paid', 'order.created', 'customer.created'].entries())
    await api.post('/v1/events', {
      id: `order-100${i}`,
      event,
      source: 'shop',
      payload: { order: 1_000 + i, total: 12.5, items: [{ sku: 'a-1', count: 2 }], note: null },
    })
  const state = await waitFor(
    async () => {
      const { data } = await api.get<{ data: { id: string; webhook_id: string; status: string }[] }>('/v1/events/order-1000/deliveries')
      return data.length === 3 && data.every(({ status }) => status !== 'pending') ? data : undefined
    },
    { what: 'the deliveries to have a state' },
  )
  await waitFor(async () => (await api.get<{ data: unknown[] }>('/v1/dead-letters')).data.length >= 2 || undefined, {
    what: 'the dead letters',
  })
  await api.post('/v1/keys', { name: 'The shop', scopes: ['read:webhooks', 'write:webhooks'] })
  const { data: job } = await api.post<{ data: { id: string } }>(`/v1/webhooks/${goodWebhook.id}/replay`, {
    since: new Date(Date.now() - 3_600_000).toISOString(),
    status: 'failed',
  })
  await waitFor(async () => (await api.get<{ data: { status: string } }>(`/v1/jobs/${job.id}`)).data.status === 'completed' || undefined, {
    what: 'the replay to end',
  })
  const deliveryTo = (webhook: string) => state.find(({ webhook_id }) => webhook_id === webhook)!.id
  return {
    webhooks: { good: goodWebhook.id, broken: broken.id, strict: strict.id, paused: paused.id },
    deliveries: { success: deliveryTo(goodWebhook.id), retrying: deliveryTo(broken.id), failed: deliveryTo(strict.id) },
    secret: goodWebhook.secret,
  }
}
export interface Filled {
  readonly webhooks: Readonly<Record<'good' | 'broken' | 'strict' | 'paused', string>>
  readonly deliveries: Readonly<Record<'success' | 'retrying' | 'failed', string>>
  /** The secret of the webhook `good`. */
  readonly secret: string
}
