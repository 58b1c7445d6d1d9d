import { expect } from 'chai'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

interface Issued {
  data: { client_id: string; client_secret: string }
}

describe('tenants, end to end', () => {
  const processes = withServices({ each: true, sharedDatabase: true })
  const { start } = processes
  /** Creates a tenant with a client. */
  const tenantOf = async (admin: Client, url: string) => {
    const id = (await admin.post<{ data: { id: string } }>('/v1/tenants', { name: 'Acme' })).data.id
    const scopes = ['read:webhooks', 'write:webhooks', 'read:events', 'write:events']
    const { client_id, client_secret } = (await admin.post<Issued>(`/v1/tenants/${id}/clients`, { name: 'Shop', scopes })).data
    return { id, clientId: client_id, client: await clientOf(url, { id: client_id, secret: client_secret }) }
  }
  it('parks the deliveries of a suspended tenant, and sends them when the tenant is resumed', async () => {
    const { url } = await start({ KOLBAK_ROLES: 'api,projector' })
    const admin = await clientOf(url)
    const { id, client } = await tenantOf(admin, url)
    await client.post('/v1/webhooks', { callback_url: processes.receiver.url('/theirs'), event: '*' })
    await admin.post('/v1/webhooks', { callback_url: processes.receiver.url('/others'), event: '*' })
    // The events are accepted while no dispatcher runs. The tenant is suspended before a dispatcher starts.
    await client.post('/v1/events', { id: 'evt_theirs', event: 'a', payload: {} })
    await admin.post('/v1/events', { id: 'evt_others', event: 'a', payload: {} })
    await admin.call('POST', `/v1/tenants/${id}/suspend`)
    await start({ KOLBAK_ROLES: 'dispatcher' })
    const parked = async () =>
      (await processes.db.pool.query<{ n: number }>('select count(*)::int as n from scheduled_deliveries where parked_at is not null'))
        .rows[0]?.n
    await waitFor(async () => (await parked()) === 1)
    await waitFor(() => processes.receiver.received('/others').length === 1)
    expect(processes.receiver.received('/theirs')).to.have.length(0)

    await admin.call('POST', `/v1/tenants/${id}/resume`)
    await waitFor(() => processes.receiver.received('/theirs').length === 1, { what: 'the parked delivery to arrive' })
    expect(processes.receiver.received('/theirs')[0]?.body.id).to.equal('evt_theirs')
    await waitFor(async () => (await parked()) === 0)
  })
  it('ends the parked deliveries of an erased tenant, and destroys its keys again when they are put back', async () => {
    const { url } = await start({ KOLBAK_ROLES: 'api,projector' })
    const admin = await clientOf(url)
    const { id, client } = await tenantOf(admin, url)
    const sql = async (text: string, values: unknown[] = []) => (await processes.db.pool.query(text, values)).rows
    await client.post('/v1/webhooks', { callback_url: processes.receiver.url('/erased'), event: '*' })
    await client.post('/v1/events', { event: 'a', payload: {} })
    await admin.call('POST', `/v1/tenants/${id}/suspend`)
    const dispatcher = await start({ KOLBAK_ROLES: 'dispatcher' })
    await waitFor(async () => (await sql('select from scheduled_deliveries where tenant = $1', [id])).length === 1)
    const keys = await sql('select purpose, wrapped from data_keys where owner = $1', [id])
    expect((await admin.call('DELETE', `/v1/tenants/${id}`, { confirm: id })).status).to.be.oneOf([200, 202])
    await waitFor(async () => (await sql('select from scheduled_deliveries where tenant = $1', [id])).length === 0)
    // On EventStoreDB, the events are not in Postgres.
    if ((await sql('select from command_events limit 1')).length > 0)
      expect(
        await sql(`select type from day_events where stream like 'attempts-%' and data like $1`, [`%"webhook_deleted"%`]),
      ).to.have.length(1)
    expect(processes.receiver.received('/erased')).to.have.length(0)
    expect(dispatcher.logLines.filter(({ level }) => Number(level) >= 50)).to.deep.equal([])

    for (const { purpose, wrapped } of keys)
      await sql('update data_keys set wrapped = $3, erased_by = null where owner = $1 and purpose = $2', [id, purpose, wrapped])
    await start({ KOLBAK_ROLES: 'api' })
    await waitFor(async () => (await sql('select from data_keys where owner = $1 and wrapped is not null', [id])).length === 0)
  })
  it("ends a revoked client's tokens within a second in every process", async () => {
    const [firstProcess, secondProcess] = await Promise.all([start(), start({ KOLBAK_ROLES: 'api' })])
    const admin = await clientOf(firstProcess.url)
    const { id, clientId, client } = await tenantOf(admin, firstProcess.url)
    const ask = async (url: string) => {
      const response = await fetch(`${url}/v1/webhooks`, { headers: { authorization: `Bearer ${client.token}` } })
      await response.arrayBuffer()
      return response.status
    }
    for (const { url } of [firstProcess, secondProcess]) expect(await ask(url)).to.equal(200)
    expect((await admin.call('DELETE', `/v1/tenants/${id}/clients/${clientId}`)).status).to.equal(204)
    const refuses = ({ url }: { url: string }) =>
      waitFor(async () => (await ask(url)) === 401, { what: `${url} to refuse the token`, within: 3_000 })
    await Promise.all([refuses(firstProcess), refuses(secondProcess)])
  })
  it('divides the request limit of a client between the processes', async () => {
    const limit = { KOLBAK_REQUESTS_PER_SECOND: '10' }
    const [firstProcess, secondProcess] = await Promise.all([start(limit), start({ KOLBAK_ROLES: 'api', ...limit })])
    const { token } = await clientOf(firstProcess.url)
    const letIn = async (url: string) => {
      const headers = { authorization: `Bearer ${token}` }
      const responses = await Promise.all(Array.from({ length: 15 }, () => fetch(`${url}/v1/webhooks`, { headers })))
      await Promise.all(responses.map((response) => response.arrayBuffer()))
      return responses.filter((response) => response.status === 200).length
    }
    // A process knows the other one after its next heartbeat. Until then, this test tries again in a new time window of the limit.
    for (const { url } of [firstProcess, secondProcess])
      await waitFor(async () => (await letIn(url)) === 5, { what: `${url} to allow half of the requests` })
  })
})
