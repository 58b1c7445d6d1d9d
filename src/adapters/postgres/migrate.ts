import { fileURLToPath } from 'node:url'
import { runner } from 'node-pg-migrate'
import pg from 'pg'

/** Brings the schema up to date: numbered forward-only files, each run once, one process at a time (the others wait). */
export async function migrate(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url, application_name: 'kolbak migrate', connectionTimeoutMillis: 10_000 })
  // The statement under way fails as well; unheard, this would end the process.
  client.on('error', () => {})
  await client.connect()
  try {
    const done = await runner({
      dbClient: client,
      dir: fileURLToPath(new URL('./migrations', import.meta.url)),
      migrationsTable: 'schema_migrations',
      direction: 'up',
      advisoryLockMode: 'wait',
      log: () => {},
    })
    return done.map((migration) => migration.name)
  } finally {
    await client.end()
  }
}
