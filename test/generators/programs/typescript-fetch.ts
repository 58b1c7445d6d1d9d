import { env } from 'node:process'
import { AuthApi, Configuration, ErrorResponseFromJSON, EventsApi, type PostEvent, ResponseError, WebhooksApi } from './client/index.js'

const { KOLBAK_URL: basePath = '', KOLBAK_CLIENT_ID: clientId = '', KOLBAK_CLIENT_SECRET: clientSecret = '' } = env
const anonymous = new Configuration({ basePath })
const token = await new AuthApi(anonymous).getToken({ tokenRequest: { grantType: 'client_credentials', clientId, clientSecret } })

const configuration = new Configuration({ basePath, accessToken: `Bearer ${token.accessToken}` })
const events = new EventsApi(configuration)
const event: PostEvent = {
  event: 'generated.typescript-fetch',
  source: null,
  payload: { order: { lines: [{ sku: 'A-1', amount: 12.5 }] } },
}
const accepted = await events.postEvent({ postEvent: event })
const { id } = accepted.data

const read = await events.getEvent({ id })
const payload: { [key: string]: unknown } | null = read.data.payload
const refused = await new WebhooksApi(configuration)
  .createWebhook({ createWebhook: { callbackUrl: 'nonsense', event: 'x' } })
  .catch((error: unknown) => error)
if (!(refused instanceof ResponseError)) throw new Error('the webhook was not refused')
const fault = ErrorResponseFromJSON(await refused.response.json()).error.details?.[0]?.path
console.log(JSON.stringify({ id, payload, fault }))
