import { variables } from '../config/config.ts'

/** Returns the table of docs/configuration.md, generated from the variables. */
export const configTable = (): string =>
  [
    '| variable | meaning | default |',
    '|---|---|---|',
    ...Object.entries(variables).map(([name, variable]) => {
      const initial = 'initialDoc' in variable ? variable.initialDoc : variable.initial === undefined ? '' : String(variable.initial)
      return `| \`${name}\` | ${variable.doc} | ${initial === '' ? '' : `\`${initial}\``} |`
    }),
  ].join('\n')

if (import.meta.main) console.log(configTable())
