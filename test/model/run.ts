import { installClock } from './clock.ts'
import { loadCode } from './code.ts'
import { codeWithMistake } from './code-with-mistake.ts'
import { type Profile, planOf } from './plan.ts'
import { plantedMistakes } from './planted-mistakes.ts'
import { play } from './play.ts'
import { explain } from './tasks.ts'

const [what = 'random', ...args] = process.argv.slice(2)
const restore = installClock()
const code = await loadCode()
if (what === 'random') {
  const [count = '1000', from = '1', profiles = 'benign,faulty'] = args
  const started = performance.now()
  let runCount = 0
  let failed = 0
  const sum = { posts: 0, repeated: 0, steps: 0 }
  for (let seed = Number(from); seed < Number(from) + Number(count); seed++)
    for (const profile of profiles.split(',') as Profile[]) {
      const played = await play({ seed, profile, code })
      runCount++
      sum.posts += played.posts
      sum.repeated += played.repeated
      sum.steps += played.steps
      const [first] = played.violations
      if (first !== undefined && failed++ < 15) console.log(`seed ${seed} ${profile}: [${first.invariant}] ${first.text}`)
    }
  console.log(runCount, 'runs', failed, 'failed', sum, `${((performance.now() - started) / runCount).toFixed(1)} ms each`)
} else if (what === 'seed') {
  const [seed = '1', profile = 'faulty'] = args as [string, Profile]
  const playing = { seed: Number(seed), profile, code, plan: planOf(Number(seed), profile) }
  const first = (await play(playing)).violations[0]
  console.log(
    first === undefined ? (await play({ ...playing, isTracing: true })).trace.join('\n') : await explain(playing, first.invariant),
  )
} else if (what === 'mutate') {
  const [maxSeeds = '300', namePart = ''] = args
  for (const mistake of plantedMistakes.filter(({ name }) => name.includes(namePart))) {
    const mistakenCode = await codeWithMistake(mistake)
    const begun = process.cpuUsage()
    let runCount = 0
    let caught = ''
    const otherRules = new Set<string>()
    for (let { from: seed = 1 } = mistake, end = seed + Number(maxSeeds); seed < end && caught === ''; seed++)
      for (const profile of ['benign', 'faulty'] as const) {
        runCount++
        const { violations } = await play({ seed, profile, code: mistakenCode })
        const right = violations.find(({ invariant }) => mistake.breaks.includes(invariant))
        if (right !== undefined) {
          caught = `seed ${seed} ${profile}: [${right.invariant}] ${right.text}`
          break
        }
        for (const other of violations) otherRules.add(other.invariant)
      }
    console.log(
      `${caught === '' ? 'NOT CAUGHT' : 'caught'} in ${runCount} runs: ${mistake.name} (${Math.round(process.cpuUsage(begun).user / 1e3)} ms); ${caught} ${[...otherRules].map((invariant) => `other: ${invariant}`).join(' ')}`,
    )
  }
}
restore()
