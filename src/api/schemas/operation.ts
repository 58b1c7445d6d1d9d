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
