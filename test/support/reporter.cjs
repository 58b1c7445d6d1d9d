// Mocha's spec reporter, closed by one plain line that any CI can read: `N passed, N failed[, N skipped]`.
const { reporters } = require('mocha')

module.exports = class PlainCount extends reporters.Spec {
  epilogue() {
    super.epilogue()
    const { passes, failures, pending } = this.stats
    console.log(`${passes} passed, ${failures} failed${pending ? `, ${pending} skipped` : ''}`)
  }
}
