import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { describeOn, type Engine, enginesFor, useEngines } from '../support/engine-sets.ts'
import { expectDeliveries, expectDelivery } from '../support/expectations.ts'
import { runProgram } from '../support/programs.ts'
import {
  type ApiResponse,
  type Client,
  clientOf,
  type DeliveryResponse,
  type Page,
  type WebhookResponse,
} from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withServices } from '../support/with-services.ts'

const ports: Record<Engine, string> = { eventstoredb: 'event_store', kafka: 'message_bus', cassandra: 'delivery_log' }

for (const [engine, port] of Object.entries(ports) as [Engine, string][])
  describeOn(`kolbak move ${port}`, [engine], () => {
    const services = withServices({
      each: true,
      sharedDatabase: true,
      variables: {
        KOLBAK_ALLOWED_SUBNETS: '127.0.0.0/8',
        // Retries go on for two minutes, so that the delivery still waits after the move, even on a slow machine.
        KOLBAK_RETRY_DELAYS: Array(20).fill(6).join(),
        KOLBAK_LOG_BATCH_SECONDS: '1',
        KOLBAK_LOG_HEAD_SECONDS: '1',
      },
    })
    const { receiver, start } = services
    const kolbak = (args: readonly string[], variables: Record<string, string> = {}) =>
      runProgram('cli/kolbak.ts', args, services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...variables }))
    /** Proves a delivery once a head covers its batch. */
    const proofOf = (delivery: string, variables: Record<string, string> = {}) =>
      waitFor(
        async () => {
          const { code, out, err } = await kolbak(['audit', 'prove', delivery], variables)
          if (code !== 0 && !err.includes('not_sealed')) throw new Error(err)
          return code === 0 ? out : null
        },
        { what: 'the proof of a delivery' },
      )
    const move = (variables: Record<string, string>) => kolbak(['move', port], variables)
    const page = <T>(api: Client, path: string) => api.get<Page<T>>(path).then(({ data }) => data)
    // The range is fixed, because the response names it.
    const timeOf = (day: number) => new Date(Date.now() + day * 86_400_000).toISOString()
    const range = `step=1d&since=${timeOf(-1)}&until=${timeOf(2)}`
    /** Returns the API's responses about everything that the test has created. */
    const everything = async (api: Client, webhooks: readonly WebhookResponse[]) => {
      const paths = [
        '/v1/keys',
        '/v1/webhooks',
        '/v1/events?limit=100',
        ...webhooks.flatMap(({ id }) => [
          `/v1/webhooks/${id}/deliveries?status=success`,
          `/v1/webhooks/${id}/history`,
          `/v1/webhooks/${id}?revision=0`,
        ]),
        `/v1/events/evt_9/explain?webhook=${webhooks[0]?.id}`,
        '/v1/dead-letters',
        `/v1/statistics/deliveries?webhook=${webhooks[0]?.id}&${range}`,
      ]
      const responses: ApiResponse[] = await Promise.all(paths.map((path) => api.call('GET', path)))
      return responses.map(({ status, body }, i) => ({ path: paths[i], status, body }))
    }

    it('moves all data that must be kept, and the service continues with them', async () => {
      await useEngines([])
      let service = await start()
      let api = await clientOf(service.url)
      receiver.setResponse('/down', (_request, response) => response.writeHead(503).end())
      const webhooks = [
        await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/up'), event: 'order.*' }),
        await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/down'), event: 'order.late' }),
      ]
      await api.patch(`/v1/webhooks/${webhooks[0]?.id}`, { description: 'changed once' })
      await api.post('/v1/keys', { name: 'a consumer', scopes: ['read:webhooks'] })
      for (let i = 0; i < 20; i++) await api.post('/v1/events', { id: `evt_${i}`, event: 'order.created', payload: { i } })
      await api.post('/v1/events', { id: 'evt_late', event: 'order.late', payload: { total: 1 } })
      // No delivery may be pending, because its status would change before it is compared.
      await expectDeliveries(api, webhooks[0]!.id, 'success', 21)
      await expectDeliveries(api, webhooks[1]!.id, 'retrying', 1)
      await waitFor(async () => (await api.get<WebhookResponse>(`/v1/webhooks/${webhooks[1]?.id}`)).failing_since !== null)
      const statistics = () => api.get<{ data: { totals: { success: number } } }>(`/v1/statistics/deliveries?webhook=${webhooks[0]?.id}`)
      await waitFor(async () => (await statistics()).data.totals.success === 21, { what: 'the statistics' })
      const [proven] = await page<DeliveryResponse>(api, '/v1/events/evt_7/deliveries')
      const early = await proofOf(proven!.id)
      const before = await everything(api, webhooks)
      expect(before.map(({ status }) => status)).to.deep.equal(before.map(() => 200))
      await service.kill('SIGTERM')

      const refused = await move({})
      expect(refused.code).to.equal(1)
      expect(refused.err).to.match(/Set (EVENTSTOREDB_URL|KAFKA_BROKERS|CASSANDRA_CONTACT_POINTS)/)

      await useEngines([engine])
      const engines = await enginesFor(`${services.db.url} moved`)
      const unmoved = await services.failToStart(engines)
      expect(unmoved.code).to.equal(78)
      expect(unmoved.stderr).to.include(`kolbak move ${port}`)

      const moved = await move(engines)
      expect(moved.code, moved.err).to.equal(0)
      expect(JSON.parse(moved.out)).to.include({ port })
      // Every event keeps its leaf, so the heads from before the move still hold.
      const verified = await kolbak(['audit', 'verify'], engines)
      expect(`${verified.code} ${verified.out}${verified.err}`).to.match(
        /^0 \d+ events, [1-9]\d* heads? and \d+ of \d+ batch(es)? checked: no fault\.$/m,
      )

      service = await start(engines)
      api = await clientOf(service.url)
      expect(await everything(api, webhooks)).to.deep.equal(before)
      const audited = await fetch(`${service.url}/v1/audit?type=OperatorActed`, { headers: { authorization: `Bearer ${api.token}` } })
      const acts = (await audited.text()).split('\n').map((line) => JSON.parse(line || '{}').data)
      const act = { command: 'move', arguments: { port, engine }, code: null }
      expect(acts.slice(0, 2).map(({ operator: _, ...data }) => data)).to.deep.equal([
        { ...act, outcome: 'begun' },
        { ...act, outcome: 'done' },
      ])

      // A delivery that waited for a retry is sent, and a delivery that has ended can be replayed.
      receiver.setResponse('/down', (_request, response) => response.end())
      await waitFor(() => receiver.received('/down').some((request) => Number(request.headers['kolbak-attempt']) > 1))
      const [delivered] = await page<DeliveryResponse>(api, '/v1/events/evt_3/deliveries')
      const earlier = receiver.received('/up').length
      await api.post(`/v1/deliveries/${delivered?.id}/replay`, {})
      await waitFor(() => receiver.received('/up').length > earlier)
      expect(receiver.received('/up').at(-1)?.body).to.deep.include({ id: 'evt_3', payload: { i: 3 } })

      // An event with an earlier id is dropped as a duplicate, and new events are delivered.
      await api.post('/v1/events', { id: 'evt_5', event: 'order.created', payload: { i: 5 } })
      await api.post('/v1/events', { id: 'evt_new', event: 'order.created', payload: {} })
      await waitFor(() => receiver.received('/up').some((request) => request.headers['webhook-id'] === 'evt_new'))
      await expectDelivery(api, 'evt_new', 'success')
      expect(receiver.received('/up').filter((request) => request.headers['webhook-id'] === 'evt_5')).to.have.length(1)

      // A proof from before the move still holds, and a delivery from before the move can still be proven.
      const { check } = await import(join(import.meta.dirname, '../../docs/verify.mjs'))
      const proof = await proofOf(proven!.id, engines)
      const headFiles = [early, proof].map((text, i) => {
        const path = join(services.dataDir, `head-${i}.txt`)
        writeFileSync(path, JSON.parse(text).head)
        return path
      })
      const link = await kolbak(['audit', 'head', '--since-head', ...headFiles], engines)
      const files = { proof, early, link: link.out }
      const { ok, lines } = check(
        Object.entries(files).map(([name, text]) => ({ name, bytes: Buffer.from(text) })),
        JSON.parse(early).key,
      )
      expect(ok, lines.join('\n')).to.equal(true)
    })

    it('refuses to move data that is not in Postgres', async () => {
      await useEngines([engine])
      const service = await start()
      await service.kill('SIGTERM')
      const { code, err } = await move(await enginesFor(services.db.url))
      expect(code).to.equal(1)
      expect(err).to.match(/only what is in Postgres can be moved/)
    })
  })
