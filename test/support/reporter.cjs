// This is Mocha's spec reporter with three additions. It names each test that was tried again. It names the files that took ten seconds or more. It
// ends with one plain line that any CI can read: `N passed, N failed[, N skipped]`.
const { relative } = require('node:path')
const { reporters } = require('mocha')

module.exports = class PlainCount extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    let retried = 0
    runner.on('retry', (test, error) => {
      retried++
      console.log(`    tried again: ${test.fullTitle()}: ${error.message.split('\n')[0]}`)
    })
    const startedAt = new Map()
    const secondsOf = new Map()
    runner.on('suite', (suite) => startedAt.set(suite, performance.now()))
    runner.on('suite end', (suite) => {
      if (!suite.parent?.root) return
      const file = relative(process.cwd(), suite.file ?? 'none')
      secondsOf.set(file, (secondsOf.get(file) ?? 0) + (performance.now() - startedAt.get(suite)) / 1_000)
    })
    runner.once('end', () => {
      for (const [file, seconds] of secondsOf) if (seconds >= 10) console.log(`    ${Math.round(seconds)} s: ${file}`)
      if (retried > 0) console.log(`${retried} tests were tried again`)
    })
  }
  epilogue() {
    super.epilogue()
    const { passes, failures, pending } = this.stats
    console.log(`${passes} passed, ${failures} failed${pending ? `, ${pending} skipped` : ''}`)
  }
}
