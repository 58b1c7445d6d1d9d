import { expect } from 'chai'
import { ulid } from 'ulid'
import { createLiveTail } from '../support/live-tail.ts'
import { runProgram } from '../support/programs.ts'
import { admin } from '../support/service.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('a live tail', () => {
  const services = withServices({ sharedDatabase: true })
  const headers = (api: Client) => ({ authorization: `Bearer ${api.token}` })
  const post = async (api: Client, event: string, count: number) => {
    const ids = Array.from({ length: count }, () => ulid())
    await Promise.all(ids.map((id) => api.post('/v1/events', { id, event, payload: {} })))
    return ids
  }

  it('shows every attempt once over a kill -9 of the process, and lets a stop end at once', async () => {
    const event = `tail-${ulid()}`
    services.receiver.setResponse('/tailed', (_request, response) => response.writeHead(204).end())
    const first = await services.start()
    let api = await clientOf(first.url)
    await api.post<WebhookResponse>('/v1/webhooks', { callback_url: services.receiver.url('/tailed'), event })
    const tail = createLiveTail()
    await tail.connect(`${first.url}/v1/deliveries/stream?event=${event}`, headers(api))
    const posted = await post(api, event, 20)
    await waitFor(() => tail.items.length > 5, { what: 'the first items' })
    await first.kill('SIGKILL')
    await tail.ended()

    const second = await services.start()
    api = await clientOf(second.url)
    posted.push(...(await post(api, event, 20)))
    await tail.connect(`${second.url}/v1/deliveries/stream?event=${event}`, headers(api))
    posted.push(...(await post(api, event, 20)))
    // A request that was in flight at the kill is repeated. Both attempts are then in the history, and in the tail.
    await waitFor(() => new Set(tail.items.map(({ data }) => data.event_id)).size === posted.length, { what: 'an item of every event' })
    expect(new Set(tail.items.map(({ data }) => data.event_id))).to.deep.equal(new Set(posted))
    expect(tail.items.filter(({ type }) => type !== 'message')).to.deep.equal([])
    const recorded = async () => {
      const histories = await Promise.all(posted.map((id) => api.get<{ data: { attempts: unknown[] }[] }>(`/v1/events/${id}/deliveries`)))
      return histories.flatMap(({ data }) => data.flatMap(({ attempts }) => attempts)).length
    }
    // The tail is ahead of the history.
    await waitFor(async () => (await recorded()) === tail.items.length, { what: 'the history to have every item' })
    expect(new Set(tail.items.map(({ id }) => id)).size).to.equal(tail.items.length)

    const variables = { KOLBAK_URL: second.url, KOLBAK_CLIENT_ID: admin.id, KOLBAK_CLIENT_SECRET: admin.secret }
    const { code, out, err } = await runProgram(
      'cli/kolbak.ts',
      ['tail', '--event', event, '--after', tail.items[0]!.id, '--seconds', '2'],
      variables,
    )
    expect(code, err).to.equal(0)
    const lines = out.trimEnd().split('\n')
    expect(lines).to.have.length(tail.items.length - 1)
    expect(lines[0]).to.include(`success  ${event}  ${tail.items[1]!.data.id}  204  attempt 1`)

    const otherTails = Array.from({ length: 4 }, createLiveTail)
    for (const other of otherTails) await other.connect(`${second.url}/v1/events/stream`, headers(api))
    expect(await second.kill('SIGTERM')).to.equal(0)
    await Promise.all([tail, ...otherTails].map((each) => each.ended()))
    for (const each of [tail, ...otherTails]) expect(each.text).to.include('The service is stopping')
  })
})
