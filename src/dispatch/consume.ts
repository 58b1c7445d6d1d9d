import { keepRunning, pause, untilDone } from '../lib/retry.ts'
import { createWake } from '../lib/wake.ts'
import { type ConsumeDeps, PartitionConsumer } from './partition-consumer.ts'
import { WorkInProgress } from './work-in-progress.ts'

/** Milliseconds after which offsets are saved although none was reported as moved. */
const longestWaitMs = 60_000

/** Takes messages from the bus. Saves for each partition the offset of its first record that is not done. Runs until the signal aborts. */
export async function consume(deps: ConsumeDeps, signal: AbortSignal): Promise<void> {
  const { bus, offsets, log, maxInProgress = 100_000, maxBytesInProgress = 64 << 20, saveEveryMs = 200 } = deps
  const workInProgress = new WorkInProgress(maxInProgress, maxBytesInProgress)
  const consumers = new Map<number, PartitionConsumer>()
  const starts = new Map<number, bigint>()

  /** Saves the offsets that have moved. */
  const save = async () => {
    const movedConsumers = [...consumers].filter(([, consumer]) => consumer.nextOffset > consumer.savedOffset)
    const next = new Map(movedConsumers.map(([partition, consumer]) => [partition, consumer.nextOffset]))
    await offsets.save(next)
    for (const [partition, consumer] of movedConsumers) consumer.savedOffset = next.get(partition)!
  }
  const offsetMoved = createWake()
  const onSaveError = (error: unknown, delayMs: number) => log.warn({ error, delayMs }, 'offsets.save_failed')
  const saving = new AbortController()
  /** Saves after an offset has moved, together with the offsets that move soon after it. */
  const saveRegularly = async () => {
    await offsetMoved.wait(longestWaitMs, saving.signal)
    await pause(saveEveryMs, saving.signal)
    await untilDone(save, { signal: saving.signal, onError: onSaveError })
  }
  const saves = keepRunning(saveRegularly, { signal: saving.signal, onError: onSaveError })
  try {
    await bus.consume({
      async startAt(partition) {
        const offset = await offsets.startAt(partition) // mutation: start-at-end
        starts.set(partition, offset)
        return offset
      },
      async own(owned) {
        const { partition } = owned
        const consumer = new PartitionConsumer({ ...deps, onDone: offsetMoved.notify }, workInProgress, owned, starts.get(partition) ?? 0n)
        consumers.set(partition, consumer)
        deps.metrics.partitions.inc()
        await consumer.run()
        deps.metrics.partitions.dec()
        await untilDone(save, { onError: onSaveError })
        // Meanwhile the bus may have assigned the partition to this process again.
        if (consumers.get(partition) === consumer) consumers.delete(partition)
      },
      signal,
    })
  } finally {
    saving.abort()
    await saves
  }
}
