import { named, object } from './json-schema.ts'

export const live = named('Live', object({ status: { const: 'live' } }))
export const ready = named(
  'Ready',
  object(
    {
      status: { const: 'ready' },
      checks: {
        type: 'array',
        description: 'The checks of the parts of the service. Only operators see them.',
        items: object({ name: { type: 'string' }, ok: { type: 'boolean' }, message: { type: 'string' } }, ['message']),
      },
    },
    ['checks'],
  ),
)
