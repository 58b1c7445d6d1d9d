import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { env } from 'node:process'
import { promisify } from 'node:util'
import { expect } from 'chai'

const root = join(import.meta.dirname, '../..')

describe('the speed of delivery', () => {
  // The floor program does only the least possible work. Other tests run at the same time and disturb the measurement.
  // Therefore the floor is measured in the same run, and the bound is generous.
  it('is at least 8 % of the speed of the floor program in the same run, and no event is lost', async () => {
    const args = [join(root, 'bench/run.ts'), '--scenarios', 'single', '--seconds', '3', '--rounds', '1', '--warm-up', '3']
    // The service refuses unknown variables, such as those of the tests.
    const clean = Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('KOLBAK_')))
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env: clean })
    const file = /^The results are in (.+)\.$/m.exec(stdout)![1]!
    const { results } = JSON.parse(await readFile(file, 'utf8')) as { results: Record<string, { shareOfFloor: number; lost: number }> }
    const { shareOfFloor, lost } = results.single!
    console.log(`      ${shareOfFloor.toFixed(2)} of the floor`)
    expect(lost).to.equal(0)
    expect(shareOfFloor).to.be.greaterThan(0.08)
  })
})
