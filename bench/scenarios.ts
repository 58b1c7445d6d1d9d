import type { Work } from './producers.ts'

/** A load, and the tenants and webhooks that receive it. */
export interface Scenario {
  readonly description: string
  readonly tenants: number
  /** Each event goes to one webhook of its tenant, round robin. With `fanout` it goes to all of them. */
  readonly webhooksPerTenant: number
  readonly fanout: boolean
  /** Paths of the receiver, distributed round robin over the webhooks. Deliveries to paths that hang are not awaited. */
  readonly paths: readonly string[]
  readonly work: Pick<Work, 'producers' | 'requestsPerSecond' | 'batch'> & {
    /** The number of events, if the load does not end by time. */
    readonly count?: number
    /**
     * The factor by which this load may last longer than others. A load with few events a second needs it for its figures, and a load that ends by count
     * needs it as a time limit. Default 1.
     */
    readonly secondsFactor?: number
  }
  /** Whether the live stream of deliveries is open during the load. */
  readonly isWatched?: boolean
  /** The load of the floor program (bench/floor.ts) with which this load is compared. Null for `rest`, because an idle floor program has no figures. */
  readonly floor: 'single' | 'latency' | 'trickle' | null
}
const oneWebhook = { tenants: 1, webhooksPerTenant: 1, fanout: false, paths: ['/hook'], floor: 'single' } as const
const withHanging = { ...oneWebhook, webhooksPerTenant: 2, paths: ['/hook', '/hanging'] } as const
const closedLoop = { producers: 32, requestsPerSecond: 0, batch: 1 }
const batches = { producers: 8, requestsPerSecond: 0, batch: 100 }
const openLoop = (requestsPerSecond: number) => ({ producers: 0, requestsPerSecond, batch: 1 })

export const scenarios = {
  rest: { ...oneWebhook, description: 'no posts', work: { producers: 0, requestsPerSecond: 0, batch: 0 }, floor: null },
  trickle: { ...oneWebhook, description: '10 posts a second, open loop', work: { ...openLoop(10), secondsFactor: 3 }, floor: 'trickle' },
  latency: { ...oneWebhook, description: '200 posts a second, open loop', work: openLoop(200), floor: 'latency' },
  single: { ...oneWebhook, description: 'single posts, one webhook', work: closedLoop },
  watched: { ...oneWebhook, description: 'single posts, while the live stream of deliveries is open', isWatched: true, work: closedLoop },
  batch: { ...oneWebhook, description: 'batches of 100, one webhook', work: batches },
  backlog: {
    ...oneWebhook,
    description: '100,000 events in batches, as fast as they are accepted',
    work: { ...batches, count: 100_000, secondsFactor: 20 },
  },
  'batch-hanging': { ...withHanging, description: 'batches of 100, half of the events to a receiver that hangs', work: batches },
  webhooks: { ...oneWebhook, description: '1,000 webhooks of 100 tenants', tenants: 100, webhooksPerTenant: 10, work: closedLoop },
  fanout: {
    ...oneWebhook,
    description: 'each event to 20 webhooks',
    webhooksPerTenant: 20,
    fanout: true,
    work: { ...closedLoop, producers: 8 },
  },
  failing: { ...oneWebhook, description: 'a tenth of the responses is 503', paths: ['/failing'], work: closedLoop },
  hanging: { ...withHanging, description: 'half of the events to a receiver that hangs', work: closedLoop },
} satisfies Record<string, Scenario>
export type ScenarioName = keyof typeof scenarios
