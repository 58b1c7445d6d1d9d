import { named, object } from './json-schema.ts'

export const live = named('Live', object({ status: { const: 'live' } }))
export const ready = named(
  'Ready',
  object(
    {
      status: { const: 'ready' },
      checks: {
        type: 'array',
        description: 'Shown to operators.',
        items: object({ name: { type: 'string' }, ok: { type: 'boolean' }, message: { type: 'string' } }, ['message']),
      },
    },
    ['checks'],
  ),
)
