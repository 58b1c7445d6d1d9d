import { parentPort } from 'node:worker_threads'
import { installClock } from './clock.ts'
import { perform, type Task } from './tasks.ts'

// The model runs in a separate thread, because no other code may run while the clock is replaced.
installClock()
parentPort!.on('message', (task: Task) => {
  perform(task).then(
    (outcome) => parentPort!.postMessage({ outcome }),
    (error: unknown) => parentPort!.postMessage({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
