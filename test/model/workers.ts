import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Outcome, Task } from './tasks.ts'

type TaskResult = { outcome: Outcome } | { error: string }

/**
 * After this number of tasks a thread ends and a new one continues, because that frees memory. A simulated process that is killed never aborts its
 * signals, and Node keeps composed signals in memory while they have listeners.
 */
const tasksOfThread = 4

/** Performs the tasks on as many threads as there are processors, at most four. Returns the outcomes in the order of the tasks. */
export async function inWorkers(tasks: readonly Task[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let next = 0
  const workSome = async () => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url))
    const ask = async (task: Task): Promise<TaskResult> => {
      worker.postMessage(task)
      const [result] = await once(worker, 'message') // This rejects if the worker fails.
      return result
    }
    try {
      for (let performed = 0; performed < tasksOfThread && next < tasks.length; performed++) {
        const index = next++
        const result = await ask(tasks[index]!)
        if ('error' in result) throw new Error(result.error)
        outcomes[index] = result.outcome
      }
    } finally {
      await worker.terminate()
    }
  }
  const work = async () => {
    while (next < tasks.length) await workSome()
  }
  await Promise.all(Array.from({ length: Math.min(4, availableParallelism(), tasks.length) }, work))
  return outcomes
}
