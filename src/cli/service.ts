import { tokenRequest } from '../api/schemas/auth.ts'
import { commandName } from './command-name.ts'
import { operationsText } from './operations-text.ts'
import { details, rowOf, textOf } from './text.ts'
import type { Verb } from './verb.ts'

export const verbs: readonly Verb[] = [
  {
    name: 'token',
    description: `print a bearer token; example: curl -H "authorization: Bearer $(${commandName} token)" ...`,
    method: 'POST',
    path: '/v1/auth',
    body: tokenRequest,
    withoutOption: ['grant_type', 'client_id', 'client_secret'], // every command has global options for these fields
    run: (session, { body }) => session.token(body.scope === undefined ? undefined : String(body.scope)),
    format: ({ data }) => textOf(rowOf(data).access_token),
  },
  { name: 'me', description: 'show who you are: the credential, its scopes and limits', method: 'GET', path: '/v1/me' },
  { name: 'index', description: 'show the version of the server and its paths', method: 'GET', path: '/', isOpen: true },
  {
    name: 'health',
    description: 'check whether the server can do its work; operators also see the checks',
    method: 'GET',
    path: '/health',
    isOpen: true,
    format({ data }) {
      const { status, checks } = rowOf(data)
      const lines = Array.isArray(checks)
        ? checks.map(rowOf).map(({ name, ok, message }) => `${ok === true ? '✔' : '✘'} ${textOf(name)}: ${textOf(message)}`)
        : []
      return [textOf(status), ...lines].join('\n')
    },
  },
  {
    name: 'ready',
    description: 'check the same as health, at the path for load balancers',
    method: 'GET',
    path: '/health/ready',
    isOpen: true,
  },
  { name: 'live', description: 'check whether the process runs', method: 'GET', path: '/health/live', isOpen: true },
  {
    name: 'metrics',
    description: 'print the metrics in the format of Prometheus',
    method: 'GET',
    path: '/metrics',
    format: ({ text }) => text.trimEnd(),
  },
  {
    name: 'operations',
    description:
      'show the state of the whole service: processes, work that waits, projections, storage, last backup (needs the scope admin)',
    method: 'GET',
    path: '/v1/operations',
    format: ({ data }) => operationsText(rowOf(data)),
  },
  {
    name: 'openapi',
    description: 'print the OpenAPI description of the API',
    method: 'GET',
    path: '/openapi.json',
    isOpen: true,
    format: ({ data }) => (typeof data === 'object' ? JSON.stringify(data, null, 2) : details(rowOf(data))),
  },
]
