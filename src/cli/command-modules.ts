import type { Command } from 'commander'
import { addVerb, type Verb } from './verb.ts'

/**
 * Commands whose code is one module. A call of the command line loads only the module of the command that was typed, because loading all
 * code would take too long.
 */
interface CommandModule {
  /** The first words of the module's commands, with their descriptions for the list of all commands. */
  readonly commands: Readonly<Record<string, string>>
  /** Loads the commands that send one request to a route of the API. */
  readonly verbs?: () => Promise<{ readonly verbs: readonly Verb[] }>
  /** Loads the function that adds a command of another kind. */
  readonly add?: () => Promise<(program: Command) => Command>
}

export const commandModules: readonly CommandModule[] = [
  {
    commands: {
      send: 'post an event',
      'send-batch': 'post many events at once',
      trace: 'show what became of an event: its deliveries and every attempt',
      events: 'list, watch, show, replay and explain events',
    },
    verbs: () => import('./events.ts'),
  },
  {
    commands: { listen: 'receive events on this machine, or pass them on to a receiver' },
    add: async () => (await import('./listen.ts')).listenCommand,
  },
  {
    commands: { webhooks: 'manage webhooks: a callback URL and the events that are sent to it' },
    verbs: () => import('./webhooks.ts'),
  },
  {
    commands: {
      deliveries: 'list the deliveries of a webhook',
      undelivered: 'list the deliveries that have not arrived, of all webhooks',
      tail: 'watch deliveries live',
      delivery: 'show a delivery and its attempts',
      request: 'show the request of an attempt as it was sent',
      timeline: 'show where the time of a delivery went',
      'dead-letters': 'list deliveries that ended in failure',
      problems: 'show what the deliveries that ended in failure have in common',
      statistics: 'count accepted events and attempts over time',
      replay: 'send a delivery again',
    },
    verbs: () => import('./deliveries.ts'),
  },
  {
    commands: {
      'replay-missed': 'send again the deliveries that all or some webhooks missed',
      jobs: 'list, show and cancel replay jobs, which `replay-missed` and `webhooks replay` start',
    },
    verbs: () => import('./jobs.ts'),
  },
  { commands: { keys: 'manage API keys, with which consumers manage their own webhooks' }, verbs: () => import('./keys.ts') },
  {
    commands: { audit: 'list all changes of this account; verify the audit log' },
    verbs: () => import('./history.ts'),
    add: async () => (await import('./audit.ts')).auditCommands,
  },
  {
    commands: { tenants: 'manage tenants (needs the scope admin)', clients: 'manage the clients of a tenant (needs the scope admin)' },
    verbs: () => import('./tenants.ts'),
  },
  {
    commands: {
      me: 'show who you are: the credential, its scopes and limits',
      token: 'print a bearer token',
      index: 'show the version of the server and its paths',
      health: 'check whether the server can do its work',
      ready: 'check the same as health, at the path for load balancers',
      live: 'check whether the process runs',
      operations: 'show the state of the whole service (needs the scope admin)',
      metrics: 'print the metrics in the format of Prometheus',
      openapi: 'print the OpenAPI description of the API',
    },
    verbs: () => import('./service.ts'),
  },
  {
    commands: { witness: 'sign the heads of audit logs on another machine' },
    add: async () => (await import('./witness.ts')).witnessCommand,
  },
  {
    commands: { move: 'move the data of a port to another engine; stop the service first' },
    add: async () => (await import('./move.ts')).moveCommand,
  },
]

/** Loads a module, and adds its commands to the program. */
export async function addModule(program: Command, { commands, verbs, add }: CommandModule): Promise<void> {
  for (const verb of (await verbs?.())?.verbs ?? []) {
    const [group = ''] = verb.name.split(' ')
    const existing = program.commands.find((command) => command.name() === group)
    const parent = group === verb.name ? program : (existing ?? program.command(group).description(commands[group] ?? ''))
    addVerb(parent, verb)
  }
  if (add !== undefined) (await add())(program)
}
