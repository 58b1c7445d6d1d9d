import type { Command } from 'commander'
import { action } from './session.ts'

export const tokenCommand = (program: Command) =>
  program
    .command('token')
    .description('print a bearer token, for curl: curl -H "authorization: Bearer $(kolbak token)" ...')
    .action(
      action(async (session) => {
        session.show(await session.token(), ({ access_token }) => access_token)
      }),
    )
