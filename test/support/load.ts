import { setTimeout as sleep } from 'node:timers/promises'

/** Events posted at a fixed rate. */
export interface Load {
  /** Ids that got a 202, so far. */
  readonly accepted: readonly string[]
  /** How often which status came; `none` where the connection broke: nothing was promised then. */
  readonly answers: ReadonlyMap<number | 'none', number>
  stop(): Promise<void>
}

/** Posts `load.posted` at a fixed rate until it is told to stop, whatever the answers. @param authorization `Bearer ...` */
export function load(url: string, authorization: string, { perSecond, from = 0 }: { perSecond: number; from?: number }): Load {
  const accepted: string[] = []
  const answers = new Map<number | 'none', number>()
  const count = (answer: number | 'none') => answers.set(answer, (answers.get(answer) ?? 0) + 1)
  const posts: Promise<void>[] = []
  let running = true
  const one = async (id: string) => {
    try {
      const response = await fetch(`${url}/v1/events`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify({ id, event: 'load.posted', payload: { id } }),
        signal: AbortSignal.timeout(60_000),
      })
      await response.arrayBuffer()
      count(response.status)
      if (response.status === 202) accepted.push(id)
    } catch {
      count('none')
    }
  }
  const loop = (async () => {
    for (let n = from; running; n++) {
      posts.push(one(`evt_${n}`))
      await sleep(1_000 / perSecond)
    }
  })()
  return {
    accepted,
    answers,
    async stop() {
      running = false
      await loop
      await Promise.all(posts)
    },
  }
}
