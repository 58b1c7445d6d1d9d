import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Slots } from './slots.ts'

/** What the dispatcher counts. */
export function createDispatchMetrics(registry: Registry, slots: Pick<Slots, 'inFlight' | 'waiting'>) {
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  gauge('kolbak_requests_in_flight', 'Requests to receivers under way.', () => slots.inFlight)
  gauge('kolbak_deliveries_waiting', 'Deliveries that wait for a slot in memory.', () => slots.waiting)
  return {
    routed: new Counter({
      name: 'kolbak_messages_routed_total',
      help: 'Messages routed, by what came of it.',
      labelNames: ['result'] as const,
      registers,
    }),
    attempts: new Counter({
      name: 'kolbak_attempts_total',
      help: 'Attempts recorded, by outcome.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    duration: new Histogram({
      name: 'kolbak_attempt_duration_seconds',
      help: 'Time of a request to a receiver.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
      registers,
    }),
    parked: new Counter({ name: 'kolbak_deliveries_parked_total', help: 'Deliveries that had no slot and went to the table.', registers }),
    unreadable: new Counter({ name: 'kolbak_records_unreadable_total', help: 'Records of the bus that were set aside.', registers }),
  }
}
export type DispatchMetrics = ReturnType<typeof createDispatchMetrics>
