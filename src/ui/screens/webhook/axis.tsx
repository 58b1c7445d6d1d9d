import type { Delivery, Version } from '../../../api/responses.ts'
import { timeText } from '../../lib/time.ts'

const deliveriesText = (count: number, failed: number): string => {
  if (count === 0) return 'no delivery'
  const latest = count === 1 ? 'one delivery' : `the latest ${count} deliveries`
  if (failed === 0) return `${latest}, without a failure`
  return `${latest}, of which ${failed} failed or ${failed === 1 ? 'is' : 'are'} retried (the upper part of a bar)`
}

const width = 1_000
const buckets = 100
/** Lays the latest deliveries of a webhook and its revisions on one axis of time, so that a change and its effect stand together. */
export function Axis({ versions, deliveries, chosen }: { versions: readonly Version[]; deliveries: readonly Delivery[]; chosen: number }) {
  const times = [...versions.map(({ time }) => time), ...deliveries.map(({ accepted_at }) => accepted_at)].map((time) => Date.parse(time))
  const first = Math.min(...times)
  const last = Math.max(...times, first + 60_000)
  const placeOf = (time: string) => ((Date.parse(time) - first) / (last - first)) * (width - 20) + 10
  const counts = Array.from({ length: buckets }, () => ({ good: 0, bad: 0 }))
  for (const { accepted_at, status } of deliveries) {
    const bucket = counts[Math.min(buckets - 1, Math.floor((placeOf(accepted_at) / width) * buckets))]
    if (bucket !== undefined) bucket[status === 'failed' || status === 'retrying' ? 'bad' : 'good']++
  }
  const highest = Math.max(1, ...counts.map(({ good, bad }) => good + bad))
  const failed = deliveries.filter(({ status }) => status === 'failed' || status === 'retrying').length
  const height = (count: number) => (count / highest) * 44
  return (
    <figure class="axis">
      <svg viewBox={`0 0 ${width} 74`} preserveAspectRatio="none" role="img" aria-label="Deliveries and revisions on one axis of time">
        {counts.map(({ good, bad }, i) => (
          <g key={`${i * 10}`}>
            <rect class="bar-good" x={i * 10 + 1} width="8" y={48 - height(good)} height={height(good)} />
            <rect class="bar-bad" x={i * 10 + 1} width="8" y={48 - height(good) - height(bad)} height={height(bad)} />
          </g>
        ))}
        <line x1="0" x2={width} y1="49" y2="49" />
        {versions.map(({ revision, time }) => (
          <rect
            key={revision}
            class={revision === chosen ? 'mark chosen' : 'mark'}
            x={placeOf(time) - (revision === chosen ? 2.5 : 1.5)}
            width={revision === chosen ? 5 : 3}
            y={revision === chosen ? 0 : 50}
            height={revision === chosen ? 74 : 20}
          />
        ))}
      </svg>
      <figcaption class="faint">
        {timeText(new Date(first).toISOString())} to {timeText(new Date(last).toISOString())}. Above the line:{' '}
        {deliveriesText(deliveries.length, failed)}. Below it: {versions.length} {versions.length === 1 ? 'revision' : 'revisions'}.
      </figcaption>
    </figure>
  )
}
