// Processes of the service load this module by `--import`. It makes their wall clock wrong by the first number in TEST_CLOCK_MS (milliseconds,
// separated by commas), and after each SIGUSR2 by the next number. Timers and the monotonic clock stay right, as on a machine whose clock is set.
import { env } from 'node:process'

const offsets = (env.TEST_CLOCK_MS ?? '0').split(',').map(Number)
const Real = Date
let at = 0
const now = () => Real.now() + offsets[at]
globalThis.Date = class MovedDate extends Real {
  constructor(...given) {
    if (given.length === 0) super(now())
    else super(...given)
  }
  static now() {
    return now()
  }
}
process.on('SIGUSR2', () => {
  at = (at + 1) % offsets.length
  process.stdout.write('{"msg":"clock.moved"}\n')
})
