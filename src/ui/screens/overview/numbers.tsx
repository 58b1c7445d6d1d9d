import type { DeliveryStatistics } from '../../../api/responses.ts'
import { params, urlOf } from '../../lib/router.ts'
import {
  attemptsOf,
  everySpan,
  p95Of,
  type ShownCounts,
  type ShownSpan,
  statisticsPath,
  successShareOf,
  useStatistics,
} from '../../lib/statistics.ts'
import { durationText, isRange, type Range } from '../../lib/time.ts'
import { AttemptBars, countText, Sparkline } from '../../parts/charts.tsx'
import { FilterChoice } from '../../parts/filters.tsx'
import { Loaded } from '../../parts/messages.tsx'
import { Curl } from '../../parts/screen.tsx'

const rangeNames = { '': '24 hours', '1h': 'One hour', '7d': '7 days', '30d': '30 days' }

const spanNames: Readonly<Record<Range, string>> = { '1h': 'hour', '24h': '24 hours', '7d': '7 days', '30d': '30 days' }

/** Four numbers of a range, each with a line over time and with the number of the range before. Below them, all attempts as bars. */
export function Numbers() {
  const chosen = params.value.get('range')
  const range = isRange(chosen) ? chosen : '24h'
  const path = statisticsPath(range)
  const query = useStatistics(path)
  const before = useStatistics(statisticsPath(range, { isBefore: true })).reply?.body.data
  return (
    <section class="stack" aria-label="Numbers">
      <div class="filters">
        <FilterChoice label="In the last" name="range" options={rangeNames} />
      </div>
      <Loaded query={query}>
        {({ data }) => (
          <>
            <Tiles statistics={data} before={before} range={range} />
            {attemptsOf(data.totals) > 0 && <AttemptBars statistics={data} />}
          </>
        )}
      </Loaded>
      <Curl request={path} title="These numbers by the API" />
    </section>
  )
}

interface Tile {
  readonly name: string
  readonly screen: string
  /** Returns the number of a range as a text. */
  textOf(counts: ShownCounts): string
  /** Returns the height of the line at a span. */
  heightOf(span: ShownSpan): number
}
const tiles: readonly Tile[] = [
  {
    name: 'Accepted events',
    screen: '/events',
    textOf: ({ accepted }) => countText(accepted ?? 0),
    heightOf: ({ accepted }) => accepted ?? 0,
  },
  {
    name: 'Delivered',
    screen: '/webhooks',
    textOf: ({ success }) => countText(success),
    heightOf: ({ success }) => success,
  },
  {
    name: 'Attempts that succeed',
    screen: '/deliveries',
    textOf: (counts) => percentText(successShareOf(counts)),
    heightOf: (span) => successShareOf(span) ?? 1,
  },
  {
    name: '95 % respond within',
    screen: '/webhooks',
    textOf: percentileText,
    heightOf: ({ p95_ms }) => p95_ms ?? 0,
  },
]

function Tiles({ statistics, before, range }: { statistics: DeliveryStatistics; before: DeliveryStatistics | undefined; range: Range }) {
  const spans = everySpan(statistics)
  const { counted_since: countedSince } = statistics
  const isComparable = before !== undefined && (countedSince === null || countedSince <= before.since)
  return (
    <div class="tiles">
      {tiles
        .filter(({ screen }) => screen !== '/events' || statistics.totals.accepted !== null)
        .map(({ name, screen, textOf, heightOf }) => (
          <a key={name} class="tile" href={urlOf(screen)}>
            <span>{name}</span>
            <strong>{textOf(statistics.totals)}</strong>
            <Sparkline values={spans.map(heightOf)} />
            <span>{isComparable ? `in the ${spanNames[range]} before: ${textOf(before.totals)}` : ' '}</span>
          </a>
        ))}
    </div>
  )
}
const percentText = (share: number | null) => (share === null ? 'none' : `${(share * 100).toFixed(share > 0.99 && share < 1 ? 2 : 1)} %`)
function percentileText(counts: ShownCounts): string {
  const ms = p95Of(counts)
  if (ms !== null) return `about ${durationText(ms)}`
  return attemptsOf(counts) === 0 ? 'none' : 'too few requests'
}
