import { params } from '../../lib/router.ts'
import { attemptsOf, p95Of, statisticsPath, useStatistics } from '../../lib/statistics.ts'
import { durationText, isRange } from '../../lib/time.ts'
import { AttemptBars } from '../../parts/charts.tsx'
import { Loaded } from '../../parts/messages.tsx'

/** The attempts for one webhook in the chosen range as bars, by default in 24 hours. Shows nothing if there were none. */
export function Attempts({ webhook }: { webhook: string }) {
  const chosen = params.value.get('range')
  const query = useStatistics(statisticsPath(isRange(chosen) ? chosen : '24h', { webhook }))
  return (
    <Loaded query={query}>
      {({ data }) =>
        attemptsOf(data.totals) > 0 && (
          <>
            <AttemptBars statistics={data} />
            <Percentile ms={p95Of(data.totals)} />
          </>
        )
      }
    </Loaded>
  )
}

const Percentile = ({ ms }: { ms: number | null }) =>
  ms === null ? null : <p class="faint">95 % of the requests took at most about {durationText(ms)}.</p>
