/** Calls `onEnd` once, when all parts have ended. With 0 parts it calls `onEnd` at once. */
export class Countdown {
  private left: number
  private allDone = true
  private readonly onEnd: (allDone: boolean) => void

  constructor(parts: number, onEnd: (allDone: boolean) => void) {
    this.left = parts
    this.onEnd = onEnd
    if (parts === 0) onEnd(true)
  }
  /** Ends one part. @param isDone whether the part has succeeded */
  end(isDone = true): void {
    this.allDone &&= isDone
    this.left--
    if (this.left === 0) this.onEnd(this.allDone)
  }
}
