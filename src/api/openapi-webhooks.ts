import { deliveredEvent, deliveryHeaders, optionalHeaders } from './schemas/delivered-event.ts'
import { exampleOf } from './schemas/json-schema.ts'

/**
 * Describes the request that receivers get, as a reusable path item of `/openapi.json`. The section `webhooks` refers to it, because
 * openapi-generator makes code that does not compile from a webhook that is described in place
 * (https://github.com/OpenAPITools/openapi-generator/issues/6689, seen in 7.25.0).
 */
export const webhookRequests = {
  event: {
    post: {
      operationId: 'receiveEvent',
      summary: 'An event, posted to the callback URL of a webhook',
      description:
        'Kolbak posts each event to every webhook whose pattern matches it, and signs the request as Standard Webhooks says. A request can come more than once, and events have no promised order. Verify the signature over the raw body, store the event, and respond within 15 s. Redirects are not followed.',
      security: [],
      parameters: Object.entries(deliveryHeaders).map(([name, schema]) => ({
        name,
        in: 'header',
        required: !optionalHeaders.has(name),
        description: schema.description,
        schema,
        example: exampleOf(schema),
      })),
      requestBody: { required: true, content: { 'application/json': { schema: deliveredEvent, example: exampleOf(deliveredEvent) } } },
      responses: {
        '2XX': { description: 'The event is delivered. The body is only kept for the history.' },
        410: { description: 'The receiver is gone for good: the delivery is a dead letter, and the webhook is deactivated.' },
        '4XX': {
          description:
            '400, 405, 406, 411, 413, 414, 415 and 422 make the delivery a dead letter, and so does 501, because a repetition would not help. Any other status is retried.',
        },
        default: {
          description:
            'A redirect, an error of the server, or no response: the delivery is retried. `Retry-After` can delay the next attempt by up to 24 h.',
        },
      },
    },
  },
}
