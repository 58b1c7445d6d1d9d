// Usage: npm run test:generators [-- NAME]. With each generator it makes a client from /openapi.json, compiles the client, and posts an event with it
// to a service that it starts. It needs Java and Maven. A language whose tools are not on the machine is skipped. The generators
// that need only Node are also in the default suite.
import { isDeepStrictEqual } from 'node:util'
import { admin, removeFolder, removeInitialised, startService, temporaryFolder } from '../support/service.ts'
import { missingOf, nodeGenerators, otherGenerators, postWith } from './generators.ts'

const [, , part = ''] = process.argv
const dataDir = await temporaryFolder()
const service = await startService(dataDir)
const counts = { passed: 0, failed: 0, skipped: 0 }
try {
  for (const [name, generator] of Object.entries({ ...nodeGenerators, ...otherGenerators })) {
    if (!name.includes(part)) continue
    const missing = 'needs' in generator ? await missingOf(generator.needs) : []
    if (missing.length > 0) {
      counts.skipped++
      console.log(`skipped: ${name}, because ${missing.join(' and ')} cannot be found on this machine`)
      continue
    }
    const startedAt = performance.now()
    try {
      const posted = await postWith(name, generator, { url: service.url, ...admin })
      const expected = { id: posted.id, payload: { order: { lines: [{ sku: 'A-1', amount: 12.5 }] } }, fault: 'callback_url' }
      if (!posted.id.startsWith('evt_') || !isDeepStrictEqual(posted, expected)) throw new Error(`it printed ${JSON.stringify(posted)}`)
      counts.passed++
      console.log(`passed: ${name} (${Math.round((performance.now() - startedAt) / 1_000)} s)`)
    } catch (error) {
      counts.failed++
      console.error(`failed: ${name}: ${error instanceof Error ? error.message : error}`)
    }
  }
} finally {
  await service.kill('SIGTERM')
  await removeFolder(dataDir)
  await removeInitialised()
}
console.log(`${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`)
process.exitCode = counts.failed === 0 ? 0 : 1
