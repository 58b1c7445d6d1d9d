import { expect } from 'chai'
import { defaultTenant } from '../../src/events/ids.ts'
import { isFull } from '../support/is-full.ts'
import { expectAccessible, type Filled, fill, picture, type UiWorld, withUi } from './world.ts'

/** The screens, and a text that shows that the screen has its data. */
const screens: readonly { readonly name: string; path(filled: Filled): string; readonly shows: string }[] = [
  { name: 'overview', path: () => '/', shows: 'Needs you' },
  { name: 'webhooks', path: () => '/webhooks', shows: 'Invoices' },
  { name: 'new-webhook', path: () => '/webhooks/new', shows: 'Create webhook' },
  { name: 'webhook', path: ({ webhooks }) => `/webhooks/${webhooks.good}`, shows: 'order.paid' },
  { name: 'webhook-history', path: ({ webhooks }) => `/webhooks/${webhooks.good}?tab=history&revision=0`, shows: 'Restore revision 0' },
  { name: 'webhook-settings', path: ({ webhooks }) => `/webhooks/${webhooks.good}?tab=settings`, shows: 'Rotate the secret' },
  { name: 'webhook-test', path: ({ webhooks }) => `/webhooks/${webhooks.good}?tab=test`, shows: 'kolbak.test' },
  { name: 'webhook-receiver', path: ({ webhooks }) => `/webhooks/${webhooks.good}?tab=receiver`, shows: 'Node.js' },
  { name: 'webhook-inactive', path: ({ webhooks }) => `/webhooks/${webhooks.paused}`, shows: 'deactivated on request' },
  { name: 'events', path: () => '/events', shows: 'order-1000' },
  { name: 'event', path: ({ webhooks }) => `/events/order-1001?webhook=${webhooks.strict}`, shows: 'Its pattern matched' },
  { name: 'delivery-success', path: ({ deliveries }) => `/deliveries/${deliveries.success}`, shows: 'delivered, status 200' },
  { name: 'delivery-retrying', path: ({ deliveries }) => `/deliveries/${deliveries.retrying}`, shows: 'Next attempt' },
  { name: 'delivery-failed', path: ({ deliveries }) => `/deliveries/${deliveries.failed}`, shows: 'Kolbak gave up' },
  { name: 'deliveries', path: () => '/deliveries', shows: 'order.paid' },
  { name: 'problems', path: () => '/problems', shows: 'failed for good' },
  { name: 'live', path: () => '/live', shows: 'connected' },
  { name: 'replays', path: () => '/replays', shows: 'failed deliveries' },
  { name: 'keys', path: () => '/keys', shows: 'The shop' },
  { name: 'audit', path: () => '/audit', shows: '9 changes' },
  { name: 'tenants', path: () => '/tenants', shows: 'Customers who must not see each other' },
  { name: 'tenant', path: () => `/tenants/${defaultTenant}`, shows: 'Suspend' },
  { name: 'operations', path: () => '/operations', shows: 'webhook_versions' },
]

/** Every look is searched for parts beyond the right edge. By default, axe checks only two looks of each screen, because a check takes half a second. */
const looks = [
  { scheme: 'light', width: 1400, isChecked: true },
  { scheme: 'dark', width: 900, isChecked: isFull },
  { scheme: 'dark', width: 320, isChecked: true },
] as const

describe('the screens of the dashboard', () => {
  const world: UiWorld = withUi()
  let filled: Filled
  before(async () => {
    filled = await fill(world)
  })

  for (const { name, path, shows } of screens)
    it(`show ${name} at three widths and in both colour schemes, without a fault of accessibility and without scrolling sideways`, async () => {
      const page = await world.page()
      await page.goto(`${world.service.url}/ui${path(filled)}`)
      await page.getByText(shows).first().waitFor()
      await page.locator('[aria-busy]').first().waitFor({ state: 'detached' })
      const curls = await page.locator('details.curl summary').allTextContents()
      expect(new Set(curls).size, `no two of ${curls.join(', ')}`).to.equal(curls.length)
      for (const { scheme, width, isChecked } of looks) {
        const look = `${name} at ${width} px in ${scheme} colours`
        await page.setViewportSize({ width, height: 900 })
        await page.emulateMedia({ colorScheme: scheme })
        await picture(page, `${name}-${width}-${scheme}`)
        if (isChecked) await expectAccessible(page, look)
        const overflow = Number(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'))
        expect(overflow, `${look}: the pixels beyond the right edge`).to.be.at.most(0)
      }
    })
  /** The dialogs: the screen, and the button that opens it. */
  const dialogs: readonly (readonly [path: (filled: Filled) => string, button: string])[] = [
    [() => '/', 'Shortcuts'],
    [({ webhooks }) => `/webhooks/${webhooks.good}`, 'Deactivate'],
    [({ webhooks }) => `/webhooks/${webhooks.good}`, 'Replay what it missed'],
    [({ webhooks }) => `/webhooks/${webhooks.paused}`, 'Activate'],
    [({ webhooks }) => `/webhooks/${webhooks.good}?tab=history&revision=0`, 'Restore revision 0'],
    [({ webhooks }) => `/webhooks/${webhooks.good}?tab=settings`, 'Delete'],
    [() => '/events/order-1001', 'Replay'],
    [({ deliveries }) => `/deliveries/${deliveries.failed}`, 'Replay'],
    [() => '/problems', 'Replay all'],
    [() => '/keys', 'New key'],
    [() => '/keys', 'Rotate The shop'],
    [() => '/keys', 'Delete The shop'],
    [() => '/keys', 'Show the key The shop'],
    [() => '/tenants', 'New tenant'],
    [() => `/tenants/${defaultTenant}`, 'New client'],
  ]
  for (const { scheme, width } of [
    { scheme: 'light', width: 1400 },
    { scheme: 'dark', width: 320 },
  ] as const)
    it(`show every dialog at ${width} px in ${scheme} colours, without a fault of accessibility`, async () => {
      const page = await world.page({ width, scheme })
      for (const [path, button] of dialogs) {
        await page.goto(`${world.service.url}/ui${path(filled)}`)
        await page.getByRole('button', { name: button }).first().click()
        await page.getByRole('dialog').waitFor()
        await page.locator('[aria-busy]').first().waitFor({ state: 'detached' })
        const description = `the dialog of ${button} on ${path(filled)}`
        await picture(page, `dialog-${button.toLowerCase().replaceAll(' ', '-')}-${width}`)
        await expectAccessible(page, description)
        const overflow = Number(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'))
        expect(overflow, `the pixels beyond the right edge in ${description}`).to.be.at.most(0)
        await page.keyboard.press('Escape')
        await page.getByRole('dialog').waitFor({ state: 'detached' })
      }
    })
  it('show the sign-in form to somebody without a session, at the URL of the screen', async () => {
    const page = await world.page({ isSignedIn: false })
    await page.goto(`${world.service.url}/ui/webhooks`)
    await page.getByRole('button', { name: 'Sign in' }).waitFor()
    await picture(page, 'sign-in')
    await expectAccessible(page, 'sign-in')
  })
})
