import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Command } from 'commander'
import { Webhook } from 'standardwebhooks'
import { type Session, withSession } from './session.ts'

export const listenCommand = (program: Command) =>
  program
    .command('listen [event]')
    .description("create a webhook for this machine (default '*'), print and verify each request; Ctrl-C deletes the webhook")
    .option('--port <port>', 'the port to listen on (default: a free one)', '0')
    .option('--public-url <url>', 'the URL under which Kolbak reaches this machine, when Kolbak runs on another one')
    .option('--answer <status>', 'the HTTP status to respond with', '200')
    .action(
      withSession(async (session, event = '*', options: { port: string; publicUrl?: string; answer: string }) => {
        let verifier: Webhook | undefined
        const server = createServer(receiver(session, () => verifier, Number(options.answer)))
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject)
          server.listen(Number(options.port), '127.0.0.1', resolve)
        })
        const url = options.publicUrl ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
        try {
          const body = { callback_url: url, event, description: 'kolbak listen' }
          const webhook = await session.call<{ id: string; secret: string }>('POST', '/v1/webhooks', body)
          verifier = new Webhook(webhook.secret)
          session.print(
            session.json
              ? JSON.stringify({ listening: url, webhook: webhook.id })
              : `listening on ${url} as webhook ${webhook.id}; press Ctrl-C to end`,
          )
          await new Promise<void>((resolve) => {
            process.once('SIGINT', resolve)
            process.once('SIGTERM', resolve)
          })
          await session.call('DELETE', `/v1/webhooks/${webhook.id}`)
        } finally {
          server.close()
          server.closeAllConnections()
        }
      }),
    )

/** Verifies and prints each request. Responds with `status`, or with 401 if the signature is not valid. */
const receiver =
  (session: Session, verifier: () => Webhook | undefined, status: number): RequestListener =>
  (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const verified = isSigned(verifier(), body, request.headers as Record<string, string>)
      response.writeHead(verified ? status : 401).end()
      const attempt = Number(request.headers['kolbak-attempt'])
      session.print(
        session.json
          ? JSON.stringify({ id: request.headers['webhook-id'], attempt, verified, body })
          : `${verified ? '✔' : '✘ signature not valid:'} attempt ${attempt}  ${body}`,
      )
    })
  }

function isSigned(verifier: Webhook | undefined, body: string, headers: Record<string, string>): boolean {
  try {
    verifier?.verify(body, headers)
    return verifier !== undefined
  } catch {
    return false // The library throws when the signature is not valid.
  }
}
