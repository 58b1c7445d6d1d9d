import { expect } from 'chai'
import { clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

describe('versions of read models', () => {
  const services = withServices({ each: true, sharedDatabase: true })
  const { start, spawn, failToStart, receiver } = services

  /** Makes the database look as if an older version had built the read model of webhooks. A column and a table are missing. */
  const makeOlder = () =>
    services.db.pool.query(`
      update projections set version = version - 1 where name = 'webhooks' and is_live;
      drop view webhook_subscriptions, webhook_tenants;
      alter table projection_webhooks_1.webhook_subscriptions drop column activated_revision;
      alter table projection_webhooks_1.webhook_tenants rename to webhook_owners;
      create view webhook_subscriptions as select * from projection_webhooks_1.webhook_subscriptions`)
  const makeNewer = () => services.db.pool.query(`update projections set version = version + 1 where name = 'webhooks' and is_live`)

  it('that are older are built again at the start; until then, requests get 503 and no query reads the old columns', async () => {
    const first = await start()
    const webhook = await (await clientOf(first.url)).post<WebhookResponse>('/v1/webhooks', {
      callback_url: receiver.url('/hook'),
      event: '*',
    })
    await first.kill('SIGTERM')
    await makeOlder()

    const api = await spawn({ KOLBAK_ROLES: 'api' }) // it builds nothing itself
    try {
      const { projections } = await waitFor(() => api.logLines.find((line) => line.msg === 'projections.building'))
      expect(projections).to.deep.equal(['webhooks'])
      const url = String(api.logLines.find((line) => line.msg === 'kolbak.listening')?.url)
      for (const path of ['/health/ready', `/v1/webhooks/${webhook.id}`]) {
        const response = await fetch(url + path)
        expect(response.status).to.equal(503)
        expect(response.headers.get('retry-after')).to.equal('1')
        expect(await response.json()).to.have.nested.property('error.code', 'not_ready')
      }
      const second = await start()
      await waitFor(() => api.logLines.find((line) => line.msg === 'kolbak.ready'))
      for (const origin of [url, second.url]) {
        const seen = await (await clientOf(origin)).get<WebhookResponse>(`/v1/webhooks/${webhook.id}`)
        expect(seen.callback_url).to.equal(receiver.url('/hook'))
      }
      await (await clientOf(second.url)).post('/v1/events', { id: 'evt_1', event: 'a.b', payload: {} })
      await waitFor(() => receiver.ids('/hook').includes('evt_1'))
      expect(JSON.stringify([...api.logLines, ...second.logLines])).to.not.include('"42')
    } finally {
      api.child.kill('SIGTERM')
      await api.exited
    }
  })

  it('that are newer are refused at the start with one sentence', async () => {
    await (await start()).kill('SIGTERM')
    await makeNewer()
    for (const processes of ['1', '2']) {
      const { code, stderr } = await failToStart({ KOLBAK_PROCESSES: processes })
      expect(stderr).to.match(
        /^kolbak: A newer version of Kolbak has taken over the projection webhooks .* backup .*\(database_of_newer_version\)$/,
      )
      expect(code).to.equal(78)
    }
  })

  it('that become newer end a running process of the former version, which drains and prints the reason', async () => {
    const { child, logLines, errors, exited } = await spawn()
    await waitFor(() => logLines.find((line) => line.msg === 'kolbak.ready'))
    await makeNewer()
    expect(await exited).to.equal(78)
    expect(errors.join('\n')).to.match(/^kolbak: A newer version of Kolbak has taken over .*\(database_of_newer_version\)$/)
    expect(logLines.map((line) => line.msg)).to.include.members(['kolbak.draining', 'kolbak.stopped'])
    expect(child.exitCode).to.equal(78)
  })
})
