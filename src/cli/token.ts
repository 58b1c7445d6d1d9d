import type { Command } from 'commander'
import { withSession } from './session.ts'

export const tokenCommand = (program: Command) =>
  program
    .command('token')
    .description('print a bearer token; example: curl -H "authorization: Bearer $(kolbak token)" ...')
    .action(
      withSession(async (session) => {
        session.show(await session.token(), ({ access_token }) => access_token)
      }),
    )
