import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Slots } from './slots.ts'

/** Registers the metrics of the dispatcher. */
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
  gauge('kolbak_requests_in_flight', 'Requests to receivers in flight.', () => slots.inFlight)
  gauge('kolbak_deliveries_waiting', 'Deliveries in memory that wait for a slot.', () => slots.waiting)
  return {
    routed: new Counter({
      name: 'kolbak_messages_routed_total',
      help: 'Messages that were routed, by result.',
      labelNames: ['result'] as const,
      registers,
    }),
    attempts: new Counter({
      name: 'kolbak_attempts_total',
      help: 'Attempts recorded, by the status that they gave to the delivery: success, retrying, failed or discarded.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    failures: new Counter({
      name: 'kolbak_failed_attempts_total',
      help: 'Recorded attempts without success, by the reason that the API shows.',
      labelNames: ['reason'] as const,
      registers,
    }),
    firstAttempt: new Histogram({
      name: 'kolbak_first_attempt_seconds',
      help: 'Time from the acceptance of an event to the first request for each of its deliveries.',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600],
      registers,
    }),
    partitions: new Gauge({
      name: 'kolbak_partitions_owned',
      help: 'Partitions of the bus that this process consumes.',
      registers,
    }),
    duration: new Histogram({
      name: 'kolbak_attempt_duration_seconds',
      help: 'Duration of requests to receivers.',
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
      registers,
    }),
    parked: new Counter({ name: 'kolbak_deliveries_parked_total', help: 'Deliveries parked because no slot was free.', registers }),
    quarantined: new Counter({ name: 'kolbak_records_quarantined_total', help: 'Records of the bus that were quarantined.', registers }),
  }
}
export type DispatchMetrics = ReturnType<typeof createDispatchMetrics>
