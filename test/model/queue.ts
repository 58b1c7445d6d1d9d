/** Work that is done at a virtual time. */
export interface Event {
  cancelled: boolean
}
export interface Scheduled extends Event {
  readonly time: number
  /** The order of arrival. */
  readonly nth: number
  readonly run: () => void
}

const isBefore = (a: Scheduled, b: Scheduled) => a.time < b.time || (a.time === b.time && a.nth < b.nth)
/** Adds an event to a binary heap, which is ordered by time and then by order of arrival. */
export function push(heap: Scheduled[], event: Scheduled): void {
  let i = heap.push(event) - 1
  while (i > 0) {
    const parent = (i - 1) >> 1
    if (isBefore(heap[parent]!, event)) break
    heap[i] = heap[parent]!
    i = parent
  }
  heap[i] = event
}
/** Removes and returns the first event. */
export function pop(heap: Scheduled[]): void {
  const last = heap.pop()!
  if (heap.length === 0) return
  let i = 0
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
    if (isBefore(last, heap[child]!)) break
    heap[i] = heap[child]!
    i = child
  }
  heap[i] = last
}
