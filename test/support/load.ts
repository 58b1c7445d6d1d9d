import { setTimeout as sleep } from 'node:timers/promises'
import { giveUpAfterMs } from './patience.ts'

/** Events that are posted at a fixed rate, or slower where the service is. */
export interface Load {
  /** Ids of the events that got a 202 so far. */
  readonly accepted: readonly string[]
  /** How often each status came. `none` counts the posts whose connection broke. Nothing was promised for those. */
  readonly answers: ReadonlyMap<number | 'none', number>
  stop(): Promise<void>
}

/**
 * Posts events `load.posted` until it is stopped, whatever the service answers. At most a second of posts waits for an answer,
 * because a backlog that grows would keep a slow machine busy long after the test has what it needs.
 * @param authorization `Bearer ...`
 */
export function startLoad(url: string, authorization: string, { perSecond, from = 0 }: { perSecond: number; from?: number }): Load {
  const accepted: string[] = []
  const answers = new Map<number | 'none', number>()
  const count = (answer: number | 'none') => answers.set(answer, (answers.get(answer) ?? 0) + 1)
  const unanswered = new Set<Promise<void>>()
  let isRunning = true
  const post = async (id: string) => {
    try {
      const response = await fetch(`${url}/v1/events`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ id, event: 'load.posted', payload: { id } }),
        signal: AbortSignal.timeout(giveUpAfterMs),
      })
      await response.arrayBuffer()
      count(response.status)
      if (response.status === 202) accepted.push(id)
    } catch {
      count('none')
    }
  }
  const loop = (async () => {
    for (let n = from; isRunning; n++) {
      const posting = post(`evt_${n}`).finally(() => unanswered.delete(posting))
      unanswered.add(posting)
      if (unanswered.size >= perSecond) await Promise.race(unanswered)
      await sleep(1_000 / perSecond)
    }
  })()
  return {
    accepted,
    answers,
    async stop() {
      isRunning = false
      await loop
      await Promise.all(unanswered)
    },
  }
}
