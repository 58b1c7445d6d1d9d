/** The deliveries of one webhook that wait in memory, oldest first. */
export class WaitingDeliveries<D extends { readonly bytes: number }> {
  /** Removed deliveries stay before `head` for a while, because removing the first item of a long array moves all others. */
  #items: D[] = []
  #head = 0
  #bytes = 0

  get length(): number {
    return this.#items.length - this.#head
  }
  /** The memory that the deliveries take. */
  get bytes(): number {
    return this.#bytes
  }
  get oldest(): D | undefined {
    return this.#items[this.#head]
  }
  push(delivery: D): void {
    this.#items.push(delivery)
    this.#bytes += delivery.bytes
  }
  /** Removes and returns the oldest delivery. */
  shift(): D | undefined {
    const delivery = this.oldest
    if (delivery === undefined) return undefined
    this.#head++
    this.#bytes -= delivery.bytes
    if (this.#head > 1_000 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return delivery
  }
  /** Removes and returns the deliveries for which the function returns true. */
  remove(isToRemove: (delivery: D) => boolean): D[] {
    const removed: D[] = []
    const kept: D[] = []
    for (let i = this.#head; i < this.#items.length; i++) (isToRemove(this.#items[i]!) ? removed : kept).push(this.#items[i]!)
    this.#replace(kept)
    return removed
  }
  /** Removes the newest deliveries until the removed ones take at least `bytes` together, or none is left. Returns the removed ones. */
  removeNewest(bytes: number): D[] {
    let first = this.#items.length
    for (let bytesLeft = bytes; bytesLeft > 0 && first > this.#head; bytesLeft -= this.#items[first]!.bytes) first--
    const removed = this.#items.slice(first)
    this.#replace(this.#items.slice(this.#head, first))
    return removed
  }
  #replace(items: D[]): void {
    this.#items = items
    this.#head = 0
    this.#bytes = items.reduce((sum, { bytes }) => sum + bytes, 0)
  }
}
