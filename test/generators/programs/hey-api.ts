import { env } from 'node:process'
import { client } from './client/client.gen.ts'
import { createWebhook, getEvent, getToken, type PostEvent, postEvent } from './client/index.ts'

const { KOLBAK_URL: baseUrl = '', KOLBAK_CLIENT_ID: client_id = '', KOLBAK_CLIENT_SECRET: client_secret = '' } = env
client.setConfig({ baseUrl })
const token = await getToken({ body: { grant_type: 'client_credentials', client_id, client_secret } })
if (token.data === undefined) throw new Error(token.error.error_description)

client.setConfig({ baseUrl, auth: token.data.access_token })
const event: PostEvent = { event: 'generated.hey-api', source: null, payload: { order: { lines: [{ sku: 'A-1', amount: 12.5 }] } } }
const accepted = await postEvent({ body: event })
if (accepted.data === undefined) throw new Error(accepted.error.error.message)
const { id } = accepted.data.data

const read = await getEvent({ path: { id } })
const payload: { [key: string]: unknown } | null | undefined = read.data?.data.payload
const refused = await createWebhook({ body: { callback_url: 'nonsense', event: 'x' } })
const fault: string | undefined = refused.error?.error.details?.[0]?.path
console.log(JSON.stringify({ id, payload, fault }))
