import { expect } from 'chai'
import { portOf } from '../../src/adapters/cassandra/contact-points.ts'

describe('the port of nodes of Cassandra that no contact point names', () => {
  it('is that of the contact points', () => {
    expect(portOf(['one:19042', '10.0.0.2:19042', '[::1]:19042'])).to.equal(19_042)
  })
  it('is 9042 when the contact points have no port', () => {
    expect(portOf(['one', 'two', '[::1]'])).to.equal(9_042)
  })
  it('is 9042 when the contact points have different ports', () => {
    expect(portOf(['one:19042', 'one:19043', 'two'])).to.equal(9_042)
  })
})
