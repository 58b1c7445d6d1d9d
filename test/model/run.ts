import { installClock } from './clock.ts'
import { loadCode } from './code.ts'
import { minimise } from './minimise.ts'
import { type Profile, planOf } from './plan.ts'
import { play } from './play.ts'

const [what = 'random', ...args] = process.argv.slice(2)
const restore = installClock()
const code = await loadCode()
if (what === 'random') {
  const [count = '1000', from = '1', profiles = 'benign,faulty'] = args
  const started = performance.now()
  let runs = 0
  let failed = 0
  const sum = { posts: 0, repeated: 0, steps: 0 }
  for (let seed = Number(from); seed < Number(from) + Number(count); seed++)
    for (const profile of profiles.split(',') as Profile[]) {
      const played = await play({ seed, profile, code })
      runs++
      sum.posts += played.posts
      sum.repeated += played.repeated
      sum.steps += played.steps
      const [first] = played.violations
      if (first !== undefined && failed++ < 15) console.log(`seed ${seed} ${profile}: [${first.of}] ${first.text}`)
    }
  console.log(runs, 'runs', failed, 'failed', sum, `${((performance.now() - started) / runs).toFixed(1)} ms each`)
} else if (what === 'seed') {
  const [seed = '1', profile = 'faulty'] = args as [string, Profile]
  const of = { seed: Number(seed), profile, code }
  const whole = planOf(of.seed, profile)
  const first = (await play({ ...of, plan: whole })).violations[0]
  const plan = first === undefined ? whole : await minimise({ ...of, plan: whole }, first.of)
  const played = await play({ ...of, plan, isTracing: true })
  console.log(played.trace.join('\n'))
  for (const step of plan) console.log(JSON.stringify(step))
  console.log(played.violations, played.posts, played.repeated, played.steps)
}
restore()
