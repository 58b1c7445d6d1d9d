import { expect } from 'chai'
import { expectArrival } from './expectations.ts'
import { type Load, startLoad } from './load.ts'
import type { Receiver } from './receiver.ts'
import type { RunningService } from './service.ts'
import { clientOf } from './service-client.ts'
import { waitFor } from './wait-for.ts'

/**
 * Posts events before, during and after a fault. Expects that every event with a 202 arrives, and that the service becomes ready without a restart.
 * Returns how many events were accepted, refused and repeated.
 */
export async function expectSurvival(
  service: RunningService,
  receiver: Receiver,
  fault: (posting: Load) => Promise<void>,
  { perSecond = 150 } = {},
): Promise<{ accepted: number; refused: number; repeated: number }> {
  const api = await clientOf(service.url)
  await api.post('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'load.*' })
  const posting = startLoad(service.url, `Bearer ${api.token}`, { perSecond })
  await waitFor(() => posting.accepted.length > perSecond)
  await fault(posting)
  const before = posting.accepted.length
  await waitFor(() => posting.accepted.length > before + perSecond, { what: 'events to be accepted again' }).catch((error: unknown) => {
    const last = service.logLines.slice(-20).map((line) => JSON.stringify(line))
    throw new Error(`the statuses were ${JSON.stringify([...posting.responses])}; the service logged last:\n${last.join('\n')}`, {
      cause: error,
    })
  })
  await posting.stop()
  await expectArrival(receiver, '/hook', posting.accepted)
  await waitFor(async () => (await fetch(`${service.url}/health/ready`)).status === 200, { what: 'the service to be ready' })
  // While the engine is unavailable, a post is refused or gets no response. No other status is allowed.
  expect([...posting.responses.keys()].filter((response) => response !== 202 && response !== 503 && response !== 'none')).to.deep.equal([])
  expect(service.child.exitCode).to.equal(null)
  const accepted = posting.accepted.length
  const refused = (posting.responses.get(503) ?? 0) + (posting.responses.get('none') ?? 0)
  return { accepted, refused, repeated: receiver.ids('/hook').length - new Set(receiver.ids('/hook')).size }
}
