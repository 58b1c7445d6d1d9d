import type { DeliveryStatistics } from '../../api/responses.ts'
import { attemptsOf, everySpan, failedOf, type ShownSpan } from '../lib/statistics.ts'
import { timeText } from '../lib/time.ts'
import { Time } from './text.tsx'

/** A small line without axes, beside a number that says what it means. */
export function Sparkline({ values }: { values: readonly number[] }) {
  const highest = Math.max(1, ...values)
  const points = values.map((value, i) => `${(i / Math.max(1, values.length - 1)) * 100},${26 - (value / highest) * 24}`)
  return (
    <svg class="sparkline" viewBox="0 0 100 28" preserveAspectRatio="none" aria-hidden="true">
      <polyline points={points.join(' ')} vector-effect="non-scaling-stroke" />
    </svg>
  )
}

export const countText = (count: number): string => count.toLocaleString('en')

const height = 60
/** Draws the attempts of each span as a bar: those that succeeded, and on top of them those that failed. */
function Bars({ spans }: { spans: readonly ShownSpan[] }) {
  const highest = Math.max(1, ...spans.map(attemptsOf))
  const width = 100 / Math.max(1, spans.length)
  const heightOf = (count: number) => (count === 0 ? 0 : Math.max(1.5, (count / highest) * height))
  return (
    <>
      {spans.map((span, i) => {
        const [good, bad] = [heightOf(span.success), heightOf(failedOf(span))]
        const bar = { x: (i + 0.1) * width, width: width * 0.8 }
        return (
          <g key={span.at}>
            <title>{`From ${timeText(span.at)}: ${countText(span.success)} succeeded, ${countText(failedOf(span))} failed`}</title>
            <rect class="bar-good" {...bar} y={height + 1 - good} height={good} />
            <rect class="bar-bad" {...bar} y={height + 1 - good - bad} height={bad} />
          </g>
        )
      })}
    </>
  )
}
const viewBox = `0 0 100 ${height + 2}`

/** The attempts of one webhook as small bars, with their numbers beside them. */
export const SmallBars = ({ spans }: { spans: readonly ShownSpan[] }) => {
  const attempts = spans.reduce((sum, span) => sum + attemptsOf(span), 0)
  const failed = spans.reduce((sum, span) => sum + failedOf(span), 0)
  return (
    <div class="small-bars">
      <svg viewBox={viewBox} preserveAspectRatio="none" aria-hidden="true">
        <Bars spans={spans} />
      </svg>
      <span class="faint">{attempts === 0 ? 'no attempt' : `${countText(attempts)}, of which ${countText(failed)} failed`}</span>
    </div>
  )
}

/** Attempts over time as bars. The same numbers are in a sentence and in a hidden table. */
export function AttemptBars({ statistics }: { statistics: DeliveryStatistics }) {
  const spans = everySpan(statistics)
  const attempts = spans.reduce((sum, span) => sum + attemptsOf(span), 0)
  const failed = spans.reduce((sum, span) => sum + failedOf(span), 0)
  const sentence = `${countText(attempts)} ${attempts === 1 ? 'attempt' : 'attempts'}, of which ${countText(failed)} failed`
  return (
    <figure class="axis">
      <svg viewBox={viewBox} preserveAspectRatio="none" role="img" aria-label={sentence}>
        <Bars spans={spans} />
      </svg>
      <figcaption class="faint">
        {sentence}
        {failed > 0 && ' (the upper part of a bar)'}
        {spans[0] !== undefined && `, from ${timeText(spans[0].at)} until now`}.{' '}
        {statistics.counted_since !== null && (
          <>
            They are counted since <Time at={statistics.counted_since} isExact />.
          </>
        )}
      </figcaption>
      <div class="visually-hidden">
        <table>
          <caption>Attempts over time</caption>
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">Succeeded</th>
              <th scope="col">Failed</th>
            </tr>
          </thead>
          <tbody>
            {spans
              .filter((span) => attemptsOf(span) > 0)
              .map((span) => (
                <tr key={span.at}>
                  <td>{timeText(span.at)}</td>
                  <td>{countText(span.success)}</td>
                  <td>{countText(failedOf(span))}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </figure>
  )
}
