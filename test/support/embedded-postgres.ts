import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Returns the process id and the URL of the Postgres that a service has started in its data folder. */
export async function embeddedPostgres(dataDir: string): Promise<{ pid: number; url: string }> {
  const [pid, , , port] = (await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')
  const password = (await readFile(join(dataDir, 'postgres-password'), 'utf8')).trim()
  return { pid: Number(pid), url: `postgres://kolbak:${password}@127.0.0.1:${port}/kolbak` }
}
