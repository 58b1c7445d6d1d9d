import type { ReceiverResponse, Sender } from '../../src/dispatch/send.ts'
import type { DeliveryRef } from '../../src/events/refs.ts'
import { context, type Simulation } from './simulation.ts'

/**
 * The behaviour of a receiver. A `moved` receiver responds with 410 at its first URL. A `lost` receiver gets the message, and its response never arrives.
 */
export type Mode = 'ok' | '503' | 'hang' | 'slow' | '410' | 'moved' | 'lost'
export const requestMs = 800

/** A request as its receiver saw it. */
export interface Post {
  readonly at: number
  readonly ref: DeliveryRef
  readonly fromTable: boolean
  readonly life: string
  readonly url: string
  /** The webhook-id header. */
  readonly id: string
  /** The kolbak-attempt header. */
  readonly attempt: number
  readonly body: string
  /** The status that the receiver sent, even if it did not arrive. */
  readonly code: number
}

const responses: Readonly<Record<Mode, (url: string) => { code: number; ms: number; heard: boolean }>> = {
  ok: () => ({ code: 200, ms: 5, heard: true }),
  503: () => ({ code: 503, ms: 5, heard: true }),
  410: () => ({ code: 410, ms: 5, heard: true }),
  hang: () => ({ code: 0, ms: requestMs, heard: false }),
  slow: () => ({ code: 200, ms: 600, heard: true }),
  moved: (url) => ({ code: url.endsWith('/old') ? 410 : 200, ms: 5, heard: true }),
  lost: () => ({ code: 200, ms: requestMs, heard: false }),
}

/** The receivers of all webhooks. `onPost` is called with every request as it arrives. */
export class Receivers {
  readonly modes = new Map<string, Mode>()
  readonly posts: Post[] = []
  open = 0
  onPost: (post: Post) => void = () => {}
  private readonly simulation: Simulation
  constructor(simulation: Simulation) {
    this.simulation = simulation
  }
  readonly sender: Sender = {
    post: (url, headers, body) =>
      new Promise<ReceiverResponse>((resolve) => {
        const caller = context.getStore()!
        const { simulation } = this
        const { ref, fromTable } = caller.delivery!
        this.open++
        simulation.at(simulation.now + simulation.random.next() * 3, () => {
          const { code, ms, heard: isReceived } = responses[this.modes.get(new URL(url).hostname) ?? 'ok'](url)
          const post: Post = {
            at: simulation.now,
            ref,
            fromTable,
            life: caller.life.id,
            url,
            id: headers['webhook-id']!,
            attempt: Number(headers['kolbak-attempt']),
            body: body.toString(),
            code,
          }
          this.posts.push(post)
          simulation.note(() => `${caller.life.id} POST ${ref.message} > ${url} ${ref.chain}.${ref.attempt} = ${code}`)
          this.onPost(post)
          simulation.at(simulation.now + ms, () => {
            this.open--
            const heardAs = { code: isReceived ? code : null, reason: isReceived ? null : ('timeout' as const), reason_detail: null }
            simulation.resume(caller, () =>
              resolve({
                ...heardAs,
                duration_ms: ms,
                body: Buffer.alloc(0),
                retryAfter: undefined,
                address: '192.0.2.1',
                fields: null,
                timings: null,
              }),
            )
          })
        })
      }),
    async close() {},
  }
}
