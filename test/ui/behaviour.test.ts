import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { ulid } from 'ulid'
import { admin } from '../support/service.ts'
import type { WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { expectAccessible, picture, withUi } from './world.ts'

describe('the dashboard in a browser', () => {
  const world = withUi()
  const open = async (page: Page, screen: string) => page.goto(`${world.service.url}/ui${screen}`)
  const create = (path: string, event: string, fields: object = {}) =>
    world.api.post<WebhookResponse>('/v1/webhooks', { callback_url: world.receiver.url(path), event, ...fields })
  const focused = (page: Page) => page.evaluate('document.activeElement.textContent || document.activeElement.name') as Promise<string>

  it('teaches the first steps to somebody who has nothing yet, on every screen', async () => {
    const page = await world.page()
    for (const [screen, sentence] of [
      ['/', 'Three steps to the first delivery'],
      ['/webhooks', 'There is no webhook yet'],
      ['/events', 'No event has come yet'],
      ['/deliveries', 'Everything has arrived'],
      ['/problems', 'Nothing failed for good in this time'],
      ['/live', 'Waiting for an attempt'],
      ['/replays', 'Nothing was replayed yet'],
      ['/keys', 'There is no API key yet'],
    ] as const) {
      await open(page, screen)
      await page.getByText(sentence).waitFor()
      await picture(page, `empty${screen.replace('/', '-')}`)
      await expectAccessible(page, screen)
    }
  })
  it('signs in with a client and its secret, stays at the asked screen, and signs out', async () => {
    const page = await world.page({ isSignedIn: false })
    await open(page, '/events?status=unmatched')
    await page.getByLabel('Client id').fill(admin.id)
    await page.getByLabel('Client secret').fill('a wrong secret')
    await page.keyboard.press('Enter')
    await page.getByText('or its secret is wrong').waitFor()
    await page.getByLabel('Client secret').fill(admin.secret)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Events' }).waitFor()
    expect(page.url()).to.match(/\/ui\/events\?status=unmatched$/)
    expect(await page.evaluate('document.cookie')).to.equal('')
    expect(await page.evaluate('JSON.stringify([{ ...localStorage }, { ...sessionStorage }])')).to.equal('[{},{}]')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Sign in' }).waitFor()
  })
  it('asks to sign in again when the session has ended, and goes on at the same screen', async () => {
    const page = await world.page()
    await open(page, '/webhooks')
    await page.getByRole('heading', { name: 'Webhooks' }).waitFor()
    await page.context().clearCookies()
    await page.getByRole('link', { name: 'Replays' }).click()
    await page.getByLabel('Client id').fill(admin.id)
    await page.getByLabel('Client secret').fill(admin.secret)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Replays' }).waitFor()
  })
  it('creates a webhook, tests it and shows its delivery, by keyboard alone', async () => {
    const page = await world.page()
    await open(page, '/')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.keyboard.press('g')
    await page.keyboard.press('w')
    await page.getByRole('heading', { name: 'Webhooks' }).waitFor()
    expect(await focused(page)).to.equal('Webhooks') // the focus is on the title, so that a screen reader says it
    await page.keyboard.press('Tab')
    expect(await focused(page)).to.equal('New webhook')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'New webhook' }).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.type(world.receiver.url('/by-keyboard'))
    await page.keyboard.press('Tab')
    await page.keyboard.type('keyboard.*')
    await page.keyboard.press('Enter')
    await page.getByText('Copy the secret now').waitFor()
    await page.getByRole('button', { name: 'Send a test event' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('delivered, status 200').waitFor()
    await page.reload() // the test is in the URL
    await page.getByText('delivered, status 200').waitFor()
    expect(world.receiver.received('/by-keyboard').length).to.equal(1)
  })
  it('shows what somebody else changed meanwhile, and saves nothing before a person has chosen', async () => {
    const { id } = await create('/shared', 'shared.*')
    const page = await world.page()
    await open(page, `/webhooks/${id}?tab=settings`)
    await page.getByLabel('Events').fill('mine.*')
    await world.api.patch(`/v1/webhooks/${id}`, { description: 'theirs' })
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText('Somebody else changed this webhook').waitFor()
    await page.getByRole('cell', { name: 'theirs' }).waitFor()
    await picture(page, 'conflict')
    await expectAccessible(page, 'the conflict')
    expect((await world.api.get<{ event: string }>(`/v1/webhooks/${id}`)).event).to.equal('shared.*')
    await page.getByRole('button', { name: 'Save mine over it' }).click()
    await page.getByText('Saved.').waitFor()
    const saved = await world.api.get<{ event: string; description: string }>(`/v1/webhooks/${id}`)
    expect([saved.event, saved.description]).to.deep.equal(['mine.*', 'theirs'])
  })
  it('asks before it rotates a secret, and shows the new one to its last character', async () => {
    const { id } = await create('/rotated', 'rotated.*')
    const page = await world.page()
    await open(page, `/webhooks/${id}?tab=settings`)
    const rotate = page.getByRole('button', { name: 'Rotate the secret' })
    await rotate.click()
    await page.getByText('The present one signs too for 24 hours.').waitFor()
    expect(await focused(page)).to.equal('Cancel') // the key that was pressed once too often does no harm
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    expect((await world.api.get<{ data: unknown[] }>(`/v1/webhooks/${id}/history`)).data.length).to.equal(1)
    await page.getByLabel('Hours in which').fill('0')
    await rotate.click()
    await page.getByText('The present one stops signing at once').waitFor()
    await page.getByRole('button', { name: 'Rotate', exact: true }).click()
    const [secret, copy] = [page.getByLabel('the new secret', { exact: true }), page.getByRole('button', { name: 'Copy the new secret' })]
    await secret.waitFor()
    const [text, button] = [await secret.boundingBox(), await copy.boundingBox()]
    expect(text!.x + text!.width).to.be.at.most(button!.x)
    await page.getByRole('link', { name: 'History' }).click()
    await page.getByText('replaced by a new value').waitFor()
    await page.getByRole('button', { name: 'Replay what it missed' }).click()
    await page.getByText('There is nothing to replay.').waitFor()
    expect(await page.evaluate('document.activeElement.name')).to.equal('range')
    expect(await page.getByText('under the same ids').count()).to.equal(0)
  })
  it('says in a sentence which number of a list is wrong', async () => {
    const page = await world.page()
    await open(page, '/webhooks/new')
    await page.getByLabel('URL').fill(world.receiver.url('/delays'))
    await page.getByLabel('Events').fill('delays.*')
    await page.getByLabel('Seconds between').fill('5, soon')
    await page.keyboard.press('Enter')
    await page.getByText(/^Value 2 must be a (whole )?number\.$/).waitFor()
  })
  it('finds who changed the URL, and puts it back as a new change', async () => {
    const { id } = await create('/right', 'past.*')
    await world.api.patch(`/v1/webhooks/${id}`, { callback_url: world.receiver.url('/wrong') })
    const page = await world.page()
    await open(page, `/webhooks/${id}?tab=history`)
    await page.getByText('by client admin').first().waitFor()
    expect(await page.getByRole('definition').allTextContents()).to.include('client admin') // the creator among the facts
    await page.keyboard.press('[')
    await page.getByRole('button', { name: 'Restore revision 0' }).waitFor()
    await page.keyboard.press(']')
    await page.getByRole('button', { name: 'Undo this change' }).click()
    const row = page.getByRole('dialog').getByRole('row', { name: 'callback_url' })
    expect(await row.getByRole('cell').allTextContents()).to.deep.equal([world.receiver.url('/wrong'), world.receiver.url('/right')])
    await picture(page, 'undo')
    await expectAccessible(page, 'the dialog of an undo')
    await page.getByRole('button', { name: 'Undo', exact: true }).click()
    await waitFor(
      async () => (await world.api.get<{ callback_url: string }>(`/v1/webhooks/${id}`)).callback_url.endsWith('/right') || undefined,
      {
        what: 'the URL to be restored',
      },
    )
    await page.getByRole('link', { name: /^2\. Changed.*Same as revision 0/ }).waitFor()
  })
  it('shows in the audit what a value was before a change and after it, on a wide and on a narrow screen', async () => {
    const { id } = await create('/audited', 'audited.*', { description: 'first' })
    await world.api.patch(`/v1/webhooks/${id}`, { description: 'second' })
    await world.api.patch(`/v1/webhooks/${id}`, { description: null })
    await world.api.post(`/v1/webhooks/${id}/secret/rotate`, { overlap_seconds: 3_600 })
    const page = await world.page()
    await open(page, `/audit?id=${id}`)
    await page.getByRole('row', { name: /Webhook changed.*\/audited.*client admin.*second to none/ }).waitFor()
    await page.getByRole('row', { name: /Webhook changed.*first to second.*\d\d:\d\d:\d\d/ }).waitFor()
    await page.getByRole('row', { name: /secret rotated.*previous_secret_until \d+ \w+ \d\d:\d\d:\d\d/ }).waitFor()
    await picture(page, 'audit-values')
    await page.setViewportSize({ width: 320, height: 900 })
    await page.getByRole('row', { name: /Webhook changed.*first to second.*\d\d:\d\d:\d\d/ }).waitFor()
    await picture(page, 'audit-values-320')
    await expectAccessible(page, 'the narrow audit')
  })
  it('verifies a signature in the browser, without sending the secret', async () => {
    const { id, secret } = await create('/signed', 'signed.*')
    await world.api.post('/v1/events', { id: 'signed-1', event: 'signed.one', payload: { text: 'ü' } })
    const delivery = await waitFor(
      async () => {
        const { data } = await world.api.get<{ data: { id: string; status: string }[] }>(`/v1/webhooks/${id}/deliveries`)
        return data[0]?.status === 'success' ? data[0].id : undefined
      },
      { what: 'the delivery' },
    )
    const page = await world.page()
    const sent: string[] = []
    page.on('request', (request) => sent.push(`${request.url()} ${request.postData() ?? ''} ${JSON.stringify(request.headers())}`))
    await open(page, `/deliveries/${delivery}`)
    await page.getByText('Verify the signature with your secret').click()
    const field = page.getByLabel('Secret')
    await field.fill(secret)
    await page.getByRole('button', { name: 'Verify' }).click()
    await page.getByText('The signature is right').waitFor()
    await picture(page, 'delivery-signed')
    await field.fill(`whsec_${Buffer.alloc(32).toString('base64')}`)
    await page.getByRole('button', { name: 'Verify' }).click()
    await page.getByText('was made with another secret').waitFor()
    expect(sent.join('\n')).to.not.include(secret)
  })
  it('finds what failed, shows what a replay of it would do, and replays exactly that', async () => {
    const path = `/refusing-${ulid()}`
    const event = `refused.${ulid().toLowerCase()}`
    world.receiver.setResponse(path, (_request, response) => response.writeHead(422).end('{"error": "unknown order"}'))
    const { id } = await create(path, 'refused.*')
    for (const name of [event, event, `${event}.other`]) await world.api.post('/v1/events', { event: name, payload: {} })
    await waitFor(
      async () => (await world.api.get<{ data: { count: number } }>(`/v1/problems?webhook=${id}`)).data.count === 3 || undefined,
      { what: 'the dead letters' },
    )
    const page = await world.page()
    await open(page, `/problems?webhook=${id}`)
    await page.getByText('2 deliveries: status 422').waitFor()
    expect(await page.getByRole('button', { name: 'Replay it' }).count()).to.equal(1)
    await page.getByRole('button', { name: 'List them' }).first().click()
    await page.getByRole('heading', { name: '2 deliveries failed for good' }).waitFor()
    await page.keyboard.press('r')
    await page.getByText('to one webhook, accepted').waitFor()
    await waitFor(async () => (await focused(page)) === 'Replay 2' || undefined, { what: 'the focus on the button' })
    await picture(page, 'problems-replay')
    await expectAccessible(page, 'the dialog of a replay')
    world.receiver.setResponse(path, (_request, response) => response.writeHead(204).end())
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Replays' }).waitFor()
    await page.getByText('2 of 2').waitFor()
    await page.getByText(`failed deliveries, ${event}, http_422`).waitFor()
    await waitFor(() => world.receiver.received(path).length === 5 || undefined, { what: 'the replayed requests' })
    await open(page, `/webhooks/${id}`)
    await page.getByRole('cell', { name: '1 after a replay' }).first().waitFor()
    await picture(page, 'replayed')
  })
  it('shows the attempts of a webhook and of all webhooks over time, as bars and in words', async () => {
    const path = `/counted-${ulid()}`
    let responses = 0
    world.receiver.setResponse(path, (_request, response) => response.writeHead(++responses > 2 ? 422 : 204).end())
    const { id } = await create(path, `counted.${ulid().toLowerCase()}`)
    const { event } = await world.api.get<{ event: string }>(`/v1/webhooks/${id}`)
    for (let i = 0; i < 3; i++) await world.api.post('/v1/events', { event, payload: {} })
    const totals = async (query: string) =>
      (await world.api.get<{ data: { totals: Record<string, number> } }>(`/v1/statistics/deliveries${query}`)).data.totals
    await waitFor(async () => (await totals(`?webhook=${id}`)).failed === 1 && (await totals(`?webhook=${id}`)).success === 2, {
      what: 'the attempts to be counted',
    })
    const page = await world.page({ width: 320 })
    await open(page, `/webhooks/${id}`)
    await page.getByRole('img', { name: '3 attempts, of which 1 failed' }).waitFor()
    await page.getByRole('table', { name: 'Attempts over time' }).waitFor({ state: 'attached' })
    await page.getByText('of which 1 failed (the upper part of a bar)').waitFor()
    expect(await page.getByText('95 % of the requests').count()).to.equal(0) // three requests are too few for a percentile
    await picture(page, 'webhook-bars')
    await expectAccessible(page, 'the bars of a webhook')
    await page.setViewportSize({ width: 1400, height: 900 })
    await open(page, `/webhooks?text=${event}`)
    await page.getByText('3, of which 1 failed').waitFor()
    await open(page, '/?range=1h')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    for (const number of ['Accepted events', 'Delivered', 'Attempts that succeed', '95 % respond within'])
      await page.getByRole('link', { name: number }).waitFor()
    expect(await page.getByRole('link', { name: 'Delivered' }).textContent()).to.match(/^Delivered[1-9]/)
    await page.getByRole('table', { name: 'Attempts over time' }).waitFor({ state: 'attached' })
    await expectAccessible(page, 'the numbers of the overview')
  })
  it('opens the main link of a row by a click anywhere in it, except where the click ends a selection of text', async () => {
    const id = `clicked-${ulid()}`
    await world.api.post('/v1/events', { id, event: 'clicked.one', payload: {} })
    const page = await world.page()
    await open(page, '/events')
    const text = page.getByText(id, { exact: true })
    await text.waitFor()
    const { x, y, width, height } = (await text.boundingBox())!
    await page.mouse.move(x + 1, y + height / 2)
    await page.mouse.down()
    await page.mouse.move(x + width - 1, y + height / 2, { steps: 3 })
    await page.mouse.up()
    expect(await page.evaluate('getSelection().toString()')).to.have.length.greaterThan(10)
    expect(page.url()).to.match(/\/ui\/events$/)
    await page.evaluate('getSelection().empty()')
    await page.getByRole('row', { name: id }).getByRole('cell').last().click()
    await page.getByRole('heading', { name: 'clicked.one' }).waitFor()
    await open(page, '/deliveries')
    await page.getByText('Delivered ones are listed for one webhook at a time').waitFor()
  })
  it('warns of a pattern that is probably a mistake, and names the URL before a webhook is deleted', async () => {
    const { id } = await create('/mistaken', 'mistaken.*')
    const page = await world.page({ width: 320 })
    await open(page, `/webhooks/${id}?tab=settings`)
    await page.getByLabel('Events').fill('mistaken..*')
    await page.getByText('Look at the dots').waitFor()
    await picture(page, 'dots')
    await page.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByText(world.receiver.url('/mistaken')).waitFor()
    await expectAccessible(page, 'the dialog of a deletion')
  })
  it('finds an event by a part of its id', async () => {
    const idPart = ulid()
    await world.api.post('/v1/events', { id: `part-${idPart}-1`, event: 'part.one', payload: {} })
    const page = await world.page()
    await open(page, '/')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type(`${idPart.toLowerCase()}-1`)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Events with a similar id' }).waitFor()
    await page.getByRole('link', { name: 'part.one' }).click()
    await page.getByRole('heading', { name: 'part.one' }).waitFor()
  })
  it('finds webhooks by a part of their URL or description, also from the filter of the events, which needs an exact name', async () => {
    const part = `warehouse-${ulid().toLowerCase()}`
    await create(`/${part}`, 'stock.*')
    await create('/elsewhere', 'stock.*', { description: `The robots of ${part.toUpperCase()}` })
    const page = await world.page({ width: 320 })
    await open(page, `/events?event=${part}`)
    await page.getByText('The name must be exact').waitFor()
    await page.getByRole('link', { name: `search for the id ${part}` }).click()
    await page.getByRole('table', { name: 'Webhooks with this text' }).waitFor()
    await page.getByRole('link', { name: 'elsewhere' }).waitFor()
    expect(await page.getByRole('heading').allTextContents()).to.include.members([`Search for ${part}`, 'Webhooks'])
    expect(Number(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'))).to.be.at.most(0)
    await picture(page, 'search')
    await expectAccessible(page, 'the webhooks that match')
    await page.getByRole('link', { name: part }).first().click()
    await page.getByText('Code for the receiver').waitFor()
  })
  it('finds webhooks for somebody with an API key, who may not read events', async () => {
    const key = await world.api.post<{ data: { key: string } }>('/v1/keys', { name: 'searcher', scopes: ['read:webhooks'] })
    const page = await world.page({ isSignedIn: false })
    await open(page, '/')
    await page.getByRole('button', { name: 'Use an API key instead' }).click()
    await page.getByLabel('API key').fill(key.data.key)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Overview' }).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('warehouse')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Webhooks', exact: true }).waitFor()
    expect(page.url()).to.match(/\/webhooks\?text=warehouse$/)
  })
  it('shows attempts live, and holds the list while it is paused', async () => {
    await create('/live', 'live.*')
    const page = await world.page()
    await open(page, '/live?event=live.*')
    await page.getByText('connected', { exact: true }).waitFor()
    await world.api.post('/v1/events', { event: 'live.first', payload: {} })
    await page.getByRole('link', { name: 'live.first' }).waitFor()
    await page.keyboard.press(' ')
    await page.getByText('paused', { exact: true }).waitFor()
    for (let i = 0; i < 3; i++) await world.api.post('/v1/events', { event: 'live.second', payload: {} })
    await page.getByRole('button', { name: '+3 new' }).waitFor()
    expect(await page.getByRole('link', { name: 'live.second' }).count()).to.equal(0)
    await picture(page, 'live-paused')
    await expectAccessible(page, 'the paused list')
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByRole('link', { name: 'live.second' }).nth(2).waitFor()
    await page.getByLabel('Watch').selectOption('Events')
    await page.getByText('connected', { exact: true }).waitFor()
    await world.api.post('/v1/events', { event: 'live.third', payload: {} })
    await page.getByRole('row', { name: /matched live\.third/ }).waitFor()
  })
  it('shows a payload byte for byte', async () => {
    const payload = '{ "z": 1.10, "a": 12345678901234567890, "a2":[ ],\t"e":{} }'
    await fetch(`${world.service.url}/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.api.token}`, 'content-type': 'application/json' },
      body: `{"id": "exact-1", "event": "exact.one", "payload": ${payload}}`,
    })
    const page = await world.page()
    await open(page, '/events/exact-1')
    await page.getByText('12345678901234567890').waitFor()
    await page.getByRole('button', { name: 'Show exact bytes' }).click()
    expect(await page.getByLabel('the payload', { exact: true }).textContent()).to.equal(payload)
  })
  it('says that the service was killed, on a list and on the live list, and goes on when it is back', async () => {
    const event = `killed-${ulid()}`
    await create('/killed', `${event}.*`)
    const pages = [await world.page(), await world.page()] as const
    const [list, live] = pages
    await open(list, '/deliveries')
    await list.getByRole('heading', { name: 'Deliveries' }).waitFor()
    await open(live, `/live?event=${event}.*`)
    await live.getByText('connected', { exact: true }).waitFor()
    await world.api.post('/v1/events', { event: `${event}.first`, payload: {} })
    await live.getByRole('link', { name: `${event}.first` }).waitFor()
    const { port } = new URL(world.service.url)
    await world.service.kill('SIGKILL')
    for (const page of pages) await page.getByText('Kolbak does not respond. What you see').waitFor()
    await live.getByText('connection lost').waitFor()
    await picture(live, 'live-killed')
    await expectAccessible(live, 'the live list without a service')
    await list.getByRole('link', { name: 'API keys' }).click() // a screen that reads its data only once
    await list.getByRole('alert').waitFor()
    await world.service.restart({ PORT: port })
    await world.api.post('/v1/events', { event: `${event}.second`, payload: {} })
    for (const page of pages) await page.getByText('Kolbak does not respond. What you see').waitFor({ state: 'detached' })
    await list.getByRole('alert').waitFor({ state: 'detached' })
    await list.getByRole('table', { name: 'API keys' }).or(list.getByText('There is no API key yet')).waitFor()
    await live.getByText('connected', { exact: true }).waitFor()
    await live.getByRole('link', { name: `${event}.second` }).waitFor() // also what happened before the page was connected again
    expect(await live.getByText('are missing here').count()).to.equal(0)
  })

  describe('with hostile texts', () => {
    const canary = '__pwned'
    const script = `window.${canary}=1`
    const hostile = [
      `<script>${script}</script>`,
      `<img src=x onerror="${script}">`,
      `<svg onload="${script}"><animate onbegin="${script}"/></svg>`,
      `"><iframe srcdoc="<script>parent.${canary}=1</script>"></iframe>`,
      `javascript:${script}`,
      '\u001b[31m\u0000\u202Eevil\u2066\ufeff',
      '<'.repeat(4_096),
      `{"__proto__": {"x": "<img src=x onerror=${script}>"}}`,
      '\udc00\ud800',
      '{'.repeat(2_000),
    ]
    it('runs nothing that a receiver, a producer or a consumer writes', async () => {
      for (const [i, text] of hostile.entries()) {
        world.receiver.setResponse(`/hostile-${i}`, (_request, response) =>
          response.writeHead(400, { 'content-type': 'text/html' }).end(text),
        )
        await create(`/hostile-${i}?q=${encodeURIComponent(text.slice(0, 200).toWellFormed())}`, 'hostile.*', {
          description: text.slice(0, 1_000).toWellFormed(),
        }).catch(() => undefined)
        await create(`/hostile-${i}`, 'hostile.*', { description: text.slice(0, 1_000).toWellFormed() })
        await world.api.post('/v1/keys', { name: text.slice(0, 200).toWellFormed(), scopes: ['read:webhooks'] })
      }
      await world.api.post('/v1/events', {
        id: 'hostile-1',
        event: 'hostile.one',
        source: hostile[1],
        payload: Object.fromEntries(hostile.map((text) => [text.toWellFormed(), text.toWellFormed()])),
      })
      const deliveries = await waitFor(
        async () => {
          const { data } = await world.api.get<{ data: { id: string; status: string }[] }>('/v1/events/hostile-1/deliveries?limit=100')
          return data.length >= hostile.length && data.every(({ status }) => status !== 'pending') ? data : undefined
        },
        { what: 'the hostile responses' },
      )
      const page = await world.page()
      for (const screen of [
        ...['/', '/webhooks', '/events', '/events/hostile-1', '/problems', '/keys', '/audit'],
        ...deliveries.map(({ id }) => `/deliveries/${id}`),
      ]) {
        await open(page, screen)
        await page.locator('h1').waitFor()
        await page.locator('[aria-busy]').first().waitFor({ state: 'detached' })
        expect(await page.evaluate(`window.${canary}`), screen).to.equal(undefined)
        expect(await page.locator('main script, main iframe, main img, a[href^="javascript" i]').count(), screen).to.equal(0)
      }
    })
    it('shows hidden characters as their codes', async () => {
      const page = await world.page()
      await open(page, '/events/hostile-1')
      await page.getByText('U+202E').first().waitFor()
    })
  })

  it('shows events with a similar id to somebody who searches for a part of it, also on a narrow screen', async () => {
    const number = String(Math.floor(Math.random() * 1e9)).padStart(9, '1')
    await world.api.post('/v1/events', { id: `purchase-${number}`, event: 'purchase.made', payload: {} })
    const page = await world.page({ width: 320 })
    await open(page, '/events')
    await page.getByRole('heading', { name: 'Events' }).waitFor()
    await page.getByRole('searchbox').first().fill(`Purchase no. ${number}`)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Events with a similar id' }).waitFor()
    await page.getByText(`purchase-${number}`, { exact: true }).waitFor()
    expect(Number(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'))).to.be.at.most(0)
    await expectAccessible(page, 'similar ids')
  })
  it('signs in by the link that a start prints, and takes the code out of the address', async () => {
    const page = await world.page({ isSignedIn: false })
    // A code that nobody has issued is as good as a used one.
    await open(page, '/#start=used')
    await page.getByText('The link was used already').waitFor()
    await page.getByText('start Kolbak again in a terminal (npm start)').waitFor()
    expect(page.url()).to.equal(`${world.service.url}/ui/`)
  })
})
