import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { KolbakError } from '../../lib/errors.ts'
import { connect } from './session.ts'

/** The settings of a server that no session can change, each with the data that can be lost when it is off. */
const durability = {
  fsync: 'a crash of the machine can lose accepted messages and damage the whole database',
  full_page_writes: 'a crash of the machine can damage pages of the database',
} as const

/**
 * Throws KolbakError `database_unfit` when Kolbak cannot work on this Postgres. Returns one sentence for each setting of the server with
 * which a crash of its machine can lose what was acknowledged. Such a server is not refused, because databases of tests have these settings, and some
 * file systems make one of them safe.
 */
export async function checkServer(url: string): Promise<string[]> {
  const options = { name: 'start', statementTimeoutMs: 10_000 }
  const first = await connect(url, options)
  try {
    const { rows } = await first.query<Record<'version' | 'encoding' | keyof typeof durability, string>>(
      `select current_setting('server_version') as version, current_setting('server_encoding') as encoding,
              current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes`,
    )
    const facts = rows[0]!
    if (Number.parseInt(facts.version, 10) < oldestVersion)
      throw unfit(`The database runs on Postgres ${facts.version}, and Kolbak needs ${oldestVersion} or newer.`)
    if (facts.encoding !== 'UTF8')
      throw unfit(`The database has the encoding ${facts.encoding}, and Kolbak needs UTF8: create it with \`encoding 'UTF8'\`.`)
    const second = await connect(url, options)
    try {
      await checkSessions(first, second)
    } finally {
      await second.end()
    }
    return Object.entries(durability).flatMap(([name, risk]) =>
      facts[name as keyof typeof durability] === 'off' ? [`Postgres runs with ${name}=off: ${risk}.`] : [],
    )
  } finally {
    await first.end()
  }
}

const oldestVersion = 16
const unfit = (sentence: string) => new KolbakError('database_unfit', sentence)

/**
 * Throws KolbakError `database_unfit` when a pooler runs the statements of one connection in several sessions. Settings and locks of a
 * session would then belong to other connections. The second connection opens a transaction, so such a pooler gives it the session that
 * the first connection has used.
 */
export async function checkSessions(first: Pick<pg.Client, 'query'>, second: Pick<pg.Client, 'query'>): Promise<void> {
  const mark = randomUUID()
  await first.query(`select set_config('kolbak.session', '${mark}', false)`)
  await second.query('begin')
  try {
    await second.query('select 1')
    const { rows } = await first.query<{ mark: string | null }>(`select current_setting('kolbak.session', true) as mark`)
    if (rows[0]?.mark !== mark)
      throw unfit('DATABASE_URL leads to a pooler that changes sessions between transactions: use its session mode, or connect directly.')
  } finally {
    await second.query('rollback')
  }
}
