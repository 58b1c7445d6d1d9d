import { timestamp } from './common.ts'
import { type JsonSchema, named, nullable, object, oneOf } from './json-schema.ts'

const ms = (description: string, example: number): JsonSchema => ({ type: 'integer', minimum: 0, description, examples: [example] })
const number = (description: string): JsonSchema => ({ type: 'integer', minimum: 0, description, examples: [1] })

export const timeline = named(
  'Timeline',
  object({
    accepted_at: { ...timestamp, description: 'The time at which the event was accepted.' },
    routed_at: nullable({
      ...timestamp,
      description:
        'The time at which the matching webhooks were recorded, or null if it is not known. The first attempt need not wait for this.',
    }),
    attempts: {
      type: 'array',
      description: 'The newest ten attempts, oldest first.',
      items: named(
        'TimelineAttempt',
        object({
          number: number('The number of the attempt within its chain, from 1.'),
          chain: number('The number of the chain, from 1.'),
          at: timestamp,
          waited: {
            ...nullable(
              object({
                since: { ...timestamp, description: 'The time since which the delivery waited.' },
                ms: ms('The milliseconds for which the delivery waited.', 4_200),
                reason: {
                  ...oneOf(['slot', 'suspended']),
                  description: '`slot`: too many requests to the webhook were in flight. `suspended`: the account was suspended.',
                },
              }),
            ),
            description: 'How long the attempt waited and why, or null if it hardly waited.',
            examples: [null],
          },
          timings: {
            ...nullable(
              object({
                dns_ms: nullable(ms('Milliseconds to resolve the name of the host, or null if the URL has an address.', 3)),
                connect_ms: ms('Milliseconds to connect.', 12),
                tls_ms: nullable(ms('Milliseconds for the TLS handshake, or null without TLS.', 31)),
                first_byte_ms: nullable(ms('Milliseconds from the request to the first byte of the response, or null if none came.', 40)),
              }),
            ),
            description: 'The steps of the request. Null if it used a connection that was open already.',
            examples: [{ dns_ms: 3, connect_ms: 12, tls_ms: 31, first_byte_ms: 40 }],
          },
          response_headers: {
            type: ['object', 'null'],
            additionalProperties: { type: 'string' },
            description:
              'Those of content-type, date, server, retry-after, location, www-authenticate, x-request-id, cf-ray and traceparent that the response had. Null if none is kept. After a success they are kept only if there is one besides content-type, date and server.',
            examples: [{ 'content-type': 'application/json', 'x-request-id': '7d0f6c1e' }],
          },
          webhook_revision: nullable({
            ...number('The revision of the webhook that the attempt used, or null if it is not known.'),
            examples: [3],
          }),
        }),
      ),
    },
  }),
)
