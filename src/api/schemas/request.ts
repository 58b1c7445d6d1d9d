import { named, nullable, object, word } from './json-schema.ts'

interface RequestQuery {
  readonly chain?: number
  readonly attempt?: number
  readonly signed?: boolean
}
const count = (description: string) => ({ type: 'integer', minimum: 1, maximum: 2_147_483_647, description, examples: [1] })
export const requestQuery = object<RequestQuery>(
  {
    chain: count('The number of the chain of the attempt. Default: the latest chain.'),
    attempt: count('The number of the attempt within its chain. Default: the latest attempt.'),
    signed: {
      type: 'boolean',
      description:
        'Whether the response has the signature. It needs the scope `write:webhooks`, because a signed request can be sent again.',
    },
  },
  ['chain', 'attempt', 'signed'],
)

const revision = { type: 'integer', minimum: 0, examples: [3] }
export const sentRequest = named(
  'SentRequest',
  object({
    method: word('POST'),
    url: {
      type: 'string',
      description: 'The URL that the webhook had at the time of the attempt.',
      examples: ['https://consumer.example.com/webhook-receiver'],
    },
    headers: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description:
        'The headers in their order. `User-Agent` has the version of today. `webhook-signature` is there only if it was asked for.',
      examples: [
        {
          'Content-Type': 'application/json',
          'webhook-id': 'evt_producer_unique_id_12345',
          'webhook-timestamp': '1774917770',
          'kolbak-attempt': '1',
        },
      ],
    },
    body: nullable({
      type: 'string',
      description: 'The body exactly as it was sent, or null after the payload has expired.',
      examples: ['{"id":"evt_producer_unique_id_12345","event":"order.created","event_time":null,"source":null,"payload":{}}'],
    }),
    webhook_revision: { ...revision, description: 'The revision of the webhook that the attempt used.' },
    is_certain: {
      type: 'boolean',
      description: 'False if the webhook changed in the minute before the attempt and the revision is not recorded any more.',
      examples: [true],
    },
    present_revision: nullable({ ...revision, description: 'The revision of the webhook today, or null if it is deleted.' }),
  }),
)
