import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsPlugin from 'ajv-formats'
import { expect } from 'chai'
import { nodeGenerators, postWith } from '../generators/generators.ts'
import { admin } from '../support/service.ts'
import { clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

interface Document {
  readonly components: {
    readonly pathItems: {
      readonly event: {
        readonly post: {
          readonly parameters: readonly { readonly name: string; readonly schema: object; readonly required: boolean }[]
          readonly requestBody: { readonly content: { readonly 'application/json': { readonly schema: object } } }
        }
      }
    }
  }
}

describe('/openapi.json', () => {
  const { service, receiver } = withService()

  for (const [name, generator] of Object.entries(nodeGenerators))
    it(`lets ${name} generate a client that compiles in strict mode, posts an event, reads it and understands a refusal`, async () => {
      const { id, payload, fault } = await postWith(name, generator, { url: service.url, ...admin })
      expect(id).to.match(/^evt_/)
      expect(payload).to.deep.equal({ order: { lines: [{ sku: 'A-1', amount: 12.5 }] } })
      expect(fault).to.equal('callback_url')
    })

  it('describes in its section `webhooks` exactly the requests that receivers get, with all headers', async () => {
    const { components } = (await (await fetch(`${service.url}/openapi.json`)).json()) as Document
    const { parameters, requestBody } = components.pathItems.event.post
    const ajv = new Ajv2020({ strict: false })
    formatsPlugin.default(ajv)
    const isBody = ajv.compile({ ...requestBody.content['application/json'].schema, components })
    const api = await clientOf(service.url)
    await api.post('/v1/webhooks', { callback_url: receiver.url('/described'), event: 'described' })
    await api.post('/v1/events', { event: 'described', event_time: '2026-03-31T00:42:50+02:00', source: 'shop', payload: { n: 1 } })
    const { data } = await api.post<{ data: { id: string } }>('/v1/events', { event: 'described', payload: {} })
    await waitFor(() => receiver.received('/described').length === 2)
    // Nothing is replayed until the history shows the delivery.
    await waitFor(async () => (await api.post<{ data: object[] }>(`/v1/events/${data.id}/replay`, {})).data.length > 0)
    const requests = await waitFor(() => (receiver.received('/described').length === 3 ? receiver.received('/described') : null))
    expect(requests.filter(({ headers }) => headers['kolbak-replay'] === '1')).to.have.length(1)
    for (const { headers, body } of requests) {
      expect(isBody(body), ajv.errorsText(isBody.errors)).to.equal(true)
      const isReplay = 'kolbak-replay' in headers
      const described = parameters.filter(({ required, name }) => required || (isReplay && name === 'kolbak-replay'))
      for (const { name, schema } of described) expect(ajv.validate(schema, headers[name]), `${name}: ${headers[name]}`).to.equal(true)
      const ofHttp = ['host', 'connection', 'accept', 'content-type', 'content-length']
      expect(Object.keys(headers).filter((name) => !ofHttp.includes(name))).to.have.members(described.map(({ name }) => name))
    }
  })
})
