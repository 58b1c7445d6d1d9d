import { env } from 'node:process'
import createClient from 'openapi-fetch'
import type { components, paths } from './client.ts'

const { KOLBAK_URL: baseUrl = '', KOLBAK_CLIENT_ID: client_id = '', KOLBAK_CLIENT_SECRET: client_secret = '' } = env
const anonymous = createClient<paths>({ baseUrl })
const token = await anonymous.POST('/v1/auth', { body: { grant_type: 'client_credentials', client_id, client_secret } })
if (token.data === undefined) throw new Error(token.error.error_description)

const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${token.data.access_token}` } })
const event: components['schemas']['PostEvent'] = {
  event: 'generated.openapi-fetch',
  source: null,
  payload: { order: { lines: [{ sku: 'A-1', amount: 12.5 }] } },
}
const accepted = await client.POST('/v1/events', { body: event })
if (accepted.data === undefined) throw new Error(accepted.error.error.message)
const { id } = accepted.data.data

const read = await client.GET('/v1/events/{id}', { params: { path: { id } } })
const payload: { [key: string]: unknown } | null | undefined = read.data?.data.payload
const refused = await client.POST('/v1/webhooks', { body: { callback_url: 'nonsense', event: 'x' } })
const fault: string | undefined = refused.error?.error.details?.[0]?.path
console.log(JSON.stringify({ id, payload, fault }))
