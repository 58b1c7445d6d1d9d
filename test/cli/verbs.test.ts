import { expect } from 'chai'
import { Command, CommanderError } from 'commander'
import type { Route } from '../../src/api/route.ts'
import { addModule, commandModules } from '../../src/cli/command-modules.ts'
import { fieldsFor, optionName } from '../../src/cli/fields.ts'
import type { Verb } from '../../src/cli/verb.ts'
import { startApi, type TestApi } from '../support/api.ts'

describe('the verbs of the command line', () => {
  let api: TestApi
  let routes: readonly Route[]
  let verbs: readonly Verb[]
  const program = new Command('kolbak').exitOverride().configureOutput({ writeErr: () => {} })
  before(async () => {
    api = await startApi()
    routes = api.api.routes
    verbs = (await Promise.all(commandModules.map((module) => module.verbs?.()))).flatMap((module) => module?.verbs ?? [])
    for (const module of commandModules) await addModule(program, module)
  })
  after(() => api.stop())
  const verbsOf = (route: Route) => verbs.filter(({ method, path }) => method === route.method && path === route.path)
  const commandOf = ({ name }: Verb): Command =>
    name.split(' ').reduce((parent, word) => parent.commands.find((command) => command.name() === word)!, program)

  it('include one for every route of the API', () => {
    expect(routes.length).to.be.greaterThan(35)
    expect(routes.filter((route) => verbsOf(route).length === 0).map(({ method, path }) => `${method} ${path}`)).to.deep.equal([])
  })
  it('each belong to one route, and have the query and the body of that route', () => {
    for (const verb of verbs) {
      const route = routes.find(({ method, path }) => method === verb.method && path === verb.path)
      expect(route, verb.name).to.not.equal(undefined)
      if (verb.name === 'trace') continue
      expect(verb.query === route?.query, `${verb.name}: the query`).to.equal(true)
      expect(verb.body === route?.body, `${verb.name}: the body`).to.equal(true)
    }
  })
  it('have an option or an argument for every field', () => {
    for (const verb of verbs) {
      const command = commandOf(verb)
      const names = [...command.options.map((option) => option.name()), ...command.registeredArguments.map((argument) => argument.name())]
      for (const field of fieldsFor(verb)) {
        const name = field.path.join('.')
        if (verb.withoutOption?.includes(name)) continue
        expect(names, `${verb.name} ${name}`).to.satisfy(
          (names: string[]) => names.includes(name) || names.includes(optionName(field, verb.optionNames ?? {})),
        )
      }
    }
  })
  it('have no option with the name of an option of all commands', () => {
    for (const verb of verbs) {
      const names = commandOf(verb).options.map((option) => option.name())
      expect(
        names.filter((name) => ['url', 'client-id', 'client-secret', 'key', 'json'].includes(name)),
        verb.name,
      ).to.deep.equal([])
    }
  })
  for (const words of [
    ['webhooks', 'update', 'ID', '--active', 'True'],
    ['webhooks', 'update', 'ID', '--retry-delays', '5,x'],
    ['webhooks', 'create', 'http://127.0.0.1/', 'a b'],
    ['webhooks', 'rotate-secret', 'ID', '--overlap', '1h'],
    ['webhooks', 'rotate-secret', 'ID', '--secret', 'short'],
    ['webhooks', 'replay', 'ID', '--since', 'yesterday'],
    ['webhooks', 'replay', 'ID'],
    ['webhooks', 'list', '--limit', '-1'],
    ['webhooks', 'list', '--is-active', 'true'],
    ['webhooks', 'show'],
    ['webhooks', 'nonsense'],
    ['deliveries', 'ID', '--status', 'ok'],
    ['deliveries', 'ID', '--limit', 'all'],
    ['keys', 'create', 'x', '--scopes', 'admin'],
    ['keys', 'delete', 'ID', '--webhooks', 'drop'],
    ['tenants', 'create', 'x', '--limits-webhooks', '0'],
    ['clients', 'issue', 'ID', 'x', '--scopes', ''],
    ['send', 'x', '{not json'],
    ['send', 'x', '[]'],
    ['send', 'x', '--event-time', 'now'],
    ['listen', '--port', '99999'],
    ['listen', '--status', 'ok'],
  ])
    it(`refuse a value that the schema does not allow: kolbak ${words.join(' ')}`, async () => {
      const error = await program.parseAsync(words, { from: 'user' }).then(
        () => null,
        (refusal: unknown) => refusal,
      )
      expect(error).to.be.instanceOf(CommanderError)
      expect((error as Error).message).to.match(/^error: .{10,}/)
    })
  it('appear in the list of all commands', () => {
    const listed = commandModules.flatMap(({ commands }) => Object.keys(commands))
    expect([...new Set(verbs.map(({ name }) => name.split(' ')[0]!))].filter((name) => !listed.includes(name))).to.deep.equal([])
  })
})
