import { named, object, word } from './json-schema.ts'

export const live = named('Live', object({ status: word('live') }))
export const ready = named(
  'Ready',
  object(
    {
      status: word('ready'),
      checks: {
        type: 'array',
        description: 'The checks of the parts of the service. Only operators see them.',
        items: object(
          {
            name: { type: 'string', examples: ['database'] },
            ok: { type: 'boolean' },
            message: { type: 'string', description: 'What is wrong, or what to know although the check is ok.', examples: ['1.2 ms'] },
          },
          ['message'],
        ),
      },
    },
    ['checks'],
  ),
)

export const index = named(
  'Index',
  object({
    name: word('Kolbak'),
    version: { type: 'string', examples: ['0.2.0'] },
    docs: { type: 'string', description: 'The path of the documentation for people.', examples: ['/docs/'] },
    openapi: { type: 'string', description: 'The path of the OpenAPI description.', examples: ['/openapi.json'] },
    health: { type: 'string', description: 'The path of the readiness check.', examples: ['/health'] },
    api: { type: 'string', description: 'The prefix of the paths that need a credential.', examples: ['/v1'] },
  }),
)
