import { expect } from 'chai'
import { similarTo } from '../../src/ui/lib/similar-id.ts'

describe('similar ids', () => {
  const ids = ['order-1001', 'ORDER_1001', 'invoice-1001', 'order-10012', 'order-1002', '01J1001ZZZ']
  for (const [typed, similar] of [
    ['1001', ['order-1001', 'ORDER_1001', 'invoice-1001', 'order-10012', '01J1001ZZZ']],
    ['order-1001', ['order-1001', 'ORDER_1001', 'invoice-1001', 'order-10012', '01J1001ZZZ']],
    ['Order 1002', ['order-1002']],
    ['purchase #1002', ['order-1002']],
    ['order', ['order-1001', 'ORDER_1001', 'order-10012', 'order-1002']],
    ['id: order-1002.', ['order-1002']],
    ['order-7', []],
    ['***', []],
  ] as const)
    it(`of ${typed} contain its letters and digits or its number`, () => {
      expect(ids.filter(similarTo(typed))).to.deep.equal(similar)
    })
})
