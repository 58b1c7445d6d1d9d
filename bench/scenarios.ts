import type { Work } from './producers.ts'

/** So much of a load has no part in its percentiles, in ms: the producers are a process of their own, whose code is cold at first. */
export const settlingMs = ({ seconds }: Pick<Work, 'seconds'>): number => Math.min(3_000, seconds * 250)

/** A load, and who gets it. */
export interface Scenario {
  readonly what: string
  readonly tenants: number
  /** Each event goes to one webhook of its tenant, in turn; with `fanout` to all of the tenant's. */
  readonly webhooksPerTenant: number
  readonly fanout: boolean
  /** Paths of the receiver, in turn over the webhooks. Those that hang are not waited for. */
  readonly paths: readonly string[]
  readonly work: Pick<Work, 'producers' | 'perSecond' | 'batch'>
  /** The floor's scenario that it is compared with. */
  readonly floor: 'single' | 'latency'
}
const one = { tenants: 1, webhooksPerTenant: 1, fanout: false, paths: ['/hook'], floor: 'single' } as const
const closed = { producers: 32, perSecond: 0, batch: 1 }

export const scenarios = {
  single: { ...one, what: 'single posts, one webhook', work: closed },
  batch: { ...one, what: 'batches of 100, one webhook', work: { ...closed, producers: 8, batch: 100 } },
  latency: { ...one, what: '200 posts a second, open loop', work: { producers: 0, perSecond: 200, batch: 1 }, floor: 'latency' },
  webhooks: { ...one, what: '1,000 webhooks of 100 tenants', tenants: 100, webhooksPerTenant: 10, work: closed },
  fanout: { ...one, what: 'each event to 20 webhooks', webhooksPerTenant: 20, fanout: true, work: { ...closed, producers: 8 } },
  failing: { ...one, what: 'a tenth of the answers is 503', paths: ['/failing'], work: closed },
  hanging: {
    ...one,
    what: 'half of the events to an endpoint that hangs',
    webhooksPerTenant: 2,
    paths: ['/hook', '/hanging'],
    work: closed,
  },
} satisfies Record<string, Scenario>
export type ScenarioName = keyof typeof scenarios
