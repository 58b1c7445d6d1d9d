import type { Work } from './producers.ts'

/** Milliseconds at the start of a load that its percentiles leave out, because the new process of the producers is slow at first. */
export const settlingMs = ({ seconds }: Pick<Work, 'seconds'>): number => Math.min(3_000, seconds * 250)

/** A load, and the tenants and webhooks that receive it. */
export interface Scenario {
  readonly description: string
  readonly tenants: number
  /** Each event goes to one webhook of its tenant, round robin. With `fanout` it goes to all of them. */
  readonly webhooksPerTenant: number
  readonly fanout: boolean
  /** Paths of the receiver, distributed round robin over the webhooks. Deliveries to paths that hang are not awaited. */
  readonly paths: readonly string[]
  readonly work: Pick<Work, 'producers' | 'perSecond' | 'batch'>
  /** The scenario of the floor with which it is compared. */
  readonly floor: 'single' | 'latency'
}
const oneWebhook = { tenants: 1, webhooksPerTenant: 1, fanout: false, paths: ['/hook'], floor: 'single' } as const
const closedLoop = { producers: 32, perSecond: 0, batch: 1 }

export const scenarios = {
  single: { ...oneWebhook, description: 'single posts, one webhook', work: closedLoop },
  batch: { ...oneWebhook, description: 'batches of 100, one webhook', work: { ...closedLoop, producers: 8, batch: 100 } },
  latency: {
    ...oneWebhook,
    description: '200 posts a second, open loop',
    work: { producers: 0, perSecond: 200, batch: 1 },
    floor: 'latency',
  },
  webhooks: { ...oneWebhook, description: '1,000 webhooks of 100 tenants', tenants: 100, webhooksPerTenant: 10, work: closedLoop },
  fanout: {
    ...oneWebhook,
    description: 'each event to 20 webhooks',
    webhooksPerTenant: 20,
    fanout: true,
    work: { ...closedLoop, producers: 8 },
  },
  failing: { ...oneWebhook, description: 'a tenth of the responses is 503', paths: ['/failing'], work: closedLoop },
  hanging: {
    ...oneWebhook,
    description: 'half of the events to a receiver that hangs',
    webhooksPerTenant: 2,
    paths: ['/hook', '/hanging'],
    work: closedLoop,
  },
} satisfies Record<string, Scenario>
export type ScenarioName = keyof typeof scenarios
