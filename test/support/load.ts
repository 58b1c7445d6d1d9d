import { setTimeout as sleep } from 'node:timers/promises'
import { giveUpAfterMs } from './patience.ts'

/** A load of events that are posted at a fixed rate, or more slowly if the service is slower. */
export interface Load {
  /** Ids of the events that got a 202 so far. */
  readonly accepted: readonly string[]
  /** The number of responses by status. `none` counts the posts whose connection broke, so that their events may be stored or not. */
  readonly responses: ReadonlyMap<PostStatus, number>
  stop(): Promise<void>
}
/** The status of a response, or `none` if there was no response. */
export type PostStatus = number | 'none'

/** Posts an event `load.posted`. Returns `none` if the response does not arrive within `timeoutMs`. @param authorization `Bearer ...` */
export async function postLoadEvent(url: string, authorization: string, id: string, timeoutMs: number): Promise<PostStatus> {
  try {
    const response = await fetch(`${url}/v1/events`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ id, event: 'load.posted', payload: { id } }),
      signal: AbortSignal.timeout(timeoutMs),
    })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 'none'
  }
}

/**
 * Posts events `load.posted` until `stop`, even if the service refuses them. At most the posts of one second wait for a response, because a growing
 * backlog would keep a slow machine busy long after the test.
 * @param authorization `Bearer ...`
 */
export function startLoad(url: string, authorization: string, { perSecond, from = 0 }: { perSecond: number; from?: number }): Load {
  const accepted: string[] = []
  const responses = new Map<PostStatus, number>()
  const openPosts = new Set<Promise<void>>()
  let isRunning = true
  const post = async (id: string) => {
    const status = await postLoadEvent(url, authorization, id, giveUpAfterMs)
    responses.set(status, (responses.get(status) ?? 0) + 1)
    if (status === 202) accepted.push(id)
  }
  const loop = (async () => {
    for (let n = from; isRunning; n++) {
      const posting = post(`evt_${n}`).finally(() => openPosts.delete(posting))
      openPosts.add(posting)
      if (openPosts.size >= perSecond) await Promise.race(openPosts)
      await sleep(1_000 / perSecond)
    }
  })()
  return {
    accepted,
    responses,
    async stop() {
      isRunning = false
      await loop
      await Promise.all(openPosts)
    },
  }
}
