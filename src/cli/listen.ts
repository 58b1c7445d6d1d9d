import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Command } from 'commander'
import { Webhook } from 'standardwebhooks'
import { action } from './session.ts'

export const listenCommand = (program: Command) =>
  program
    .command('listen [event]')
    .description("receive events here: subscribes itself (default '*'), verifies each signature, prints what comes, unsubscribes on Ctrl-C")
    .option('--port <port>', 'a fixed port instead of a free one', '0')
    .option('--public-url <url>', 'how Kolbak reaches this receiver, when it is not on the same machine')
    .option('--answer <status>', 'what to answer with', '200')
    .action(
      action(async (session, event = '*', o: { port: string; publicUrl?: string; answer: string }) => {
        let verifier: Webhook | undefined
        const server = createServer((request, response) => {
          const chunks: Buffer[] = []
          request.on('data', (chunk: Buffer) => chunks.push(chunk))
          request.on('end', () => {
            const raw = Buffer.concat(chunks).toString()
            const verified = isSigned(verifier, raw, request.headers as Record<string, string>)
            response.writeHead(verified ? Number(o.answer) : 401).end()
            const received = { id: request.headers['webhook-id'], attempt: Number(request.headers['kolbak-attempt']), verified, body: raw }
            session.print(
              session.json ? JSON.stringify(received) : `${verified ? '✔' : '✘ signature not valid:'} attempt ${received.attempt}  ${raw}`,
            )
          })
        })
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject)
          server.listen(Number(o.port), '127.0.0.1', resolve)
        })
        const url = o.publicUrl ?? `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
        try {
          const webhook = await session.call<{ id: string; secret: string }>('POST', '/v1/webhooks', {
            callback_url: url,
            event,
            description: 'kolbak listen',
          })
          verifier = new Webhook(webhook.secret)
          session.print(
            session.json
              ? JSON.stringify({ listening: url, webhook: webhook.id })
              : `listening on ${url} as webhook ${webhook.id}: Ctrl-C ends it`,
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

function isSigned(verifier: Webhook | undefined, raw: string, headers: Record<string, string>): boolean {
  try {
    verifier?.verify(raw, headers)
    return verifier !== undefined
  } catch {
    return false // that is the answer: it is not signed with the webhook's secret
  }
}
