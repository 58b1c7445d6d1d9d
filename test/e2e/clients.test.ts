import { expect } from 'chai'
import { OpenAPIClientAxios } from 'openapi-client-axios'
import * as oauth from 'openid-client'
import { admin } from '../support/service.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

describe('clients that were not written for Kolbak', () => {
  const { service, receiver } = withService()

  for (const [way, authentication] of [
    ['HTTP Basic', oauth.ClientSecretBasic],
    ['the body', oauth.ClientSecretPost],
  ] as const)
    it(`a generic OAuth 2.0 client gets a token by client_credentials with its secret in ${way}`, async () => {
      const server = { issuer: service.url, token_endpoint: `${service.url}/v1/auth` }
      const configuration = new oauth.Configuration(server, admin.id, admin.secret, authentication(admin.secret))
      oauth.allowInsecureRequests(configuration)
      const token = await oauth.clientCredentialsGrant(configuration, { scope: 'read:webhooks' })
      expect(token.token_type).to.equal('bearer')
      expect(token.expires_in).to.equal(3_600)
      const status = async (path: string) =>
        (await fetch(service.url + path, { headers: { authorization: `Bearer ${token.access_token}` } })).status
      expect(await status('/v1/webhooks')).to.equal(200)
      expect(await status('/v1/keys'), 'the scope was narrowed').to.equal(403)

      const wrong = new oauth.Configuration(server, admin.id, 'wrong', authentication('wrong'))
      oauth.allowInsecureRequests(wrong)
      const refused = await oauth.clientCredentialsGrant(wrong).catch((error: unknown) => error)
      expect(refused).to.be.instanceOf(Error).and.to.have.property('status', 401)
    })

  it('a client generated from /openapi.json gets a token, creates a webhook, posts an event and lists its delivery', async () => {
    const generator = new OpenAPIClientAxios({ definition: `${service.url}/openapi.json`, withServer: { url: service.url } })
    const client = await generator.init()
    const operation =
      (name: string) =>
      async (parameters: object | null, data?: unknown, config: object = {}): Promise<{ status: number; data: unknown }> => {
        const method = client[name]
        if (method === undefined) throw new Error(`the document has no operation ${name}`)
        return method(parameters as never, data, config)
      }
    const { data: token } = await operation('getToken')(null, {
      grant_type: 'client_credentials',
      client_id: admin.id,
      client_secret: admin.secret,
    })
    const headers = { authorization: `Bearer ${(token as { access_token: string }).access_token}` }

    const created = await operation('createWebhook')(null, { callback_url: receiver.url('/generated'), event: 'generated' }, { headers })
    expect(created.status).to.equal(201)
    const webhook = created.data as { id: string; secret: string }
    receiver.verify('/generated', webhook.secret)
    expect((await operation('getWebhook')({ id: webhook.id }, null, { headers })).data).to.include({ id: webhook.id, event: 'generated' })

    const accepted = await operation('postEvent')(null, { id: 'generated_1', event: 'generated', payload: { n: 1 } }, { headers })
    expect(accepted.status).to.equal(202)
    await waitFor(() => receiver.received('/generated')[0]?.verified)
    const history = await waitFor(async () => {
      const response = await operation('listWebhookDeliveries')({ id: webhook.id, limit: 5 }, null, { headers })
      const { data } = response.data as { data: { status: string }[] }
      return data[0]?.status === 'success' ? data : null
    })
    expect(history).to.have.length(1)
    expect((await operation('deleteWebhook')({ id: webhook.id }, null, { headers })).status).to.equal(204)
  })
})
