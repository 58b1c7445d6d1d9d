// Mocha's spec reporter. It names each test that was tried again, and ends with one plain line that any CI can read:
// `N passed, N failed[, N skipped]`.
const { reporters } = require('mocha')

module.exports = class PlainCount extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    let retried = 0
    runner.on('retry', (test, error) => {
      retried++
      console.log(`    tried again: ${test.fullTitle()}: ${error.message.split('\n')[0]}`)
    })
    runner.once('end', () => {
      if (retried > 0) console.log(`${retried} tests were tried again`)
    })
  }
  epilogue() {
    super.epilogue()
    const { passes, failures, pending } = this.stats
    console.log(`${passes} passed, ${failures} failed${pending ? `, ${pending} skipped` : ''}`)
  }
}
