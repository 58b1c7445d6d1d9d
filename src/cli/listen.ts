import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import type { Command } from 'commander'
import { Webhook } from 'standardwebhooks'
import type { JsonSchema } from '../api/schemas/json-schema.ts'
import { onEndSignal } from '../lib/end-signals.ts'
import { codeOf } from '../lib/errors.ts'
import { commandName } from './command-name.ts'
import { CommandError, UsageError } from './errors.ts'
import { parseValue } from './fields.ts'
import { isJson, memberText, parseExactly, stringify } from './json-text.ts'
import { createSession, type Session } from './session.ts'
import { rowOf, rowsOf, textOf } from './text.ts'

interface Options {
  port?: number
  publicUrl?: URL
  status: number
  forwardTo?: URL
}
const port: JsonSchema = { type: 'integer', minimum: 0, maximum: 65_535 }
const statusSchema: JsonSchema = { type: 'integer', minimum: 200, maximum: 599 }

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new UsageError(`${JSON.stringify(text)} is not a URL: give one such as http://localhost:3000/hook.`)
  return url
}

export const listenCommand = (program: Command) =>
  program
    .command('listen')
    .argument('[event]', "an exact name, a prefix such as 'order.*', or '*'", '*')
    .description('create a webhook for this machine, print and verify each request, and delete the webhook at the end (Ctrl-C)')
    .option('--port <n>', 'the port to listen on (default: a free one)', (text) => parseValue(port, text))
    .option('--public-url <url>', 'the URL under which Kolbak reaches this machine, when Kolbak runs on another one', parseUrl)
    .option('--forward-to <url>', 'pass each request on to this URL, and respond as it does', parseUrl)
    .option('--status <code>', 'the HTTP status to respond with, when nothing is passed on', (text) => parseValue(statusSchema, text), 200)
    .action(async (event: string, options: Options, command: Command) => listen(createSession(command), event, options))

async function listen(session: Session, event: string, { port: ownPort = 0, publicUrl, status, forwardTo }: Options): Promise<void> {
  let end = (_why?: unknown) => {}
  const ended = new Promise<void>((resolve, reject) => {
    end = (why) => (why === undefined ? resolve() : reject(why))
  })
  ended.catch(() => {}) // the promise may be rejected before the code below awaits it
  const removeSignalHandlers = onEndSignal(
    () => end(),
    () => process.exit(1),
  )
  for (const output of [process.stdout, process.stderr]) output.on('error', () => end()) // the terminal or the pipe was closed
  let verifier: Webhook | undefined
  const server = createServer(createReceiver(session, () => verifier, forwardTo, status))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(new CommandError(`Nothing can listen on port ${ownPort}: ${cause.message}.`, { cause })))
    server.listen(ownPort, '127.0.0.1', resolve)
  })
  server.on('error', end)
  const url = publicUrl?.href ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  try {
    const webhook = await createWebhook(session, url, event, publicUrl === undefined)
    try {
      verifier = new Webhook(webhook.secret)
      print(session, { listening: url, webhook: webhook.id }, [
        `Listening for ${event} on ${url} (webhook ${webhook.id})${forwardTo === undefined ? '' : `, and passing requests on to ${forwardTo.href}`}. Press Ctrl-C to end.`,
      ])
      await removeLeftOvers(session).catch(() => {}) // webhooks that are left over only cause failed deliveries
      await ended
    } finally {
      await session.call('DELETE', `/v1/webhooks/${webhook.id}`).catch((cause: Error) => {
        throw new CommandError(
          `The webhook could not be deleted; do it with: ${commandName} webhooks delete ${webhook.id} (${cause.message})`,
          {
            cause,
          },
        )
      })
    }
  } finally {
    removeSignalHandlers()
    server.close()
    server.closeAllConnections()
  }
}

/** The description of the webhooks of this machine, without the id of the process. */
const descriptionHere = `kolbak listen on ${hostname()}, process `

/** Deletes the webhooks of earlier calls that were killed, and so could not delete them. */
async function removeLeftOvers(session: Session): Promise<void> {
  const { data } = await session.pages('/v1/webhooks', {}, 1_000)
  const leftOvers = rowsOf(data).filter(({ description }) => {
    const text = textOf(description)
    return text.startsWith(descriptionHere) && !isAlive(Number(text.slice(descriptionHere.length)))
  })
  for (const { id } of leftOvers) await session.call('DELETE', `/v1/webhooks/${textOf(id)}`)
}
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM' // the process belongs to another user
  }
}

async function createWebhook(session: Session, url: string, event: string, isLocal: boolean): Promise<{ id: string; secret: string }> {
  try {
    const description = `${descriptionHere}${process.pid}`
    const { data } = await session.call('POST', '/v1/webhooks', stringify({ callback_url: url, event, description }))
    return { id: textOf(rowOf(data).id), secret: textOf(rowOf(data).secret) }
  } catch (error) {
    if (!(isLocal && error instanceof CommandError && error.message.includes('callback_url: '))) throw error
    throw new CommandError(
      `The Kolbak on ${session.url} does not call receivers on this machine. Stop it and start it with: npm run dev`,
      error.envelope === undefined ? { cause: error } : { cause: error, envelope: error.envelope },
    )
  }
}

/** Prints an event of the receiver: as one line of JSON in the envelope of the API, or as lines for people. */
function print(session: Session, data: object, lines: readonly string[]): void {
  console.log(session.json ? JSON.stringify({ data, error: null, pagination: null }) : lines.join('\n'))
}

/** Verifies and prints each request, and responds. A request whose signature is not valid gets 401 and is not passed on. */
const createReceiver =
  (session: Session, verifier: () => Webhook | undefined, forwardTo: URL | undefined, status: number): RequestListener =>
  async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const raw = Buffer.concat(chunks)
    const body = raw.toString()
    const isVerified = isSigned(verifier(), body, request.headers as Record<string, string>)
    const result = !isVerified ? { status: 401 } : forwardTo === undefined ? { status } : await forward(forwardTo, request, raw)
    response.writeHead(result.status, result.type === undefined ? {} : { 'content-type': result.type }).end(result.body)
    const attempt = Number(request.headers['kolbak-attempt'])
    const replay = request.headers['kolbak-replay'] === undefined ? null : Number(request.headers['kolbak-replay'])
    const time = new Date().toLocaleTimeString('sv') // hours, minutes and seconds
    const event = isJson(body) ? rowOf(parseExactly(body)) : {}
    print(session, { id: request.headers['webhook-id'], attempt, replay, verified: isVerified, status: result.status, event, body }, [
      `${isVerified ? '✔' : '✘ SIGNATURE NOT VALID'} ${time}  ${textOf(event.event)}  ${textOf(event.id)}  ${replay === null ? '' : `replay ${replay}, `}attempt ${attempt} → ${result.status}${result.fault === undefined ? '' : ` (${result.fault})`}`,
      `  ${memberText(body, 'payload') ?? body}`,
    ])
  }

interface Forwarded {
  readonly status: number
  readonly body?: Buffer
  readonly type?: string
  readonly fault?: string
}
/** The headers that describe the connection and not the request. They are not passed on. */
const hopHeaders = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive', 'expect'])

/** Passes a request on with its headers and its bytes. A receiver that does not respond counts as 502. */
async function forward(url: URL, { headers }: IncomingMessage, raw: Buffer): Promise<Forwarded> {
  const passedOn = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    hopHeaders.has(name) || value === undefined ? [] : [[name, String(value)]],
  )
  try {
    const response = await fetch(url, { method: 'POST', headers: passedOn, body: new Uint8Array(raw), redirect: 'manual' })
    const type = response.headers.get('content-type')
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()), ...(type === null ? {} : { type }) }
  } catch (error) {
    const { cause } = error as { cause?: { code?: string; message?: string } }
    return { status: 502, fault: `${url.host} does not respond: ${cause?.code ?? cause?.message ?? (error as Error).message}` }
  }
}

function isSigned(verifier: Webhook | undefined, body: string, headers: Record<string, string>): boolean {
  try {
    verifier?.verify(body, headers)
    return verifier !== undefined
  } catch {
    return false // The library throws when the signature is not valid.
  }
}
