// Shares the event loop among connections. libuv reads one socket up to 32 times in a row, and one read holds thousands
// of small frames. So a connection that has used its slice of a turn waits for the next one, in which the sockets of
// all others are read first. The time of all slices in one turn is limited as well: the rest of them run in the turn
// after it.

export interface Sliced {
  readonly nextSlice: () => void
}

/** How long the slices of one turn may take together before the sockets are read again. */
const turnMs = 4
/** When so many wait, each gets a smaller slice. */
const crowd = 16

export class Slices {
  #waiting: Array<Sliced> = []
  #isScheduled = false

  get isCrowded(): boolean {
    return this.#waiting.length >= crowd
  }

  /** Calls `nextSlice` in another turn of the event loop, after those that were added before. */
  add(sliced: Sliced): void {
    this.#waiting.push(sliced)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    this.#isScheduled = false
    const began = performance.now()
    const due = this.#waiting.length
    let done = 0
    // Those added meanwhile come after them.
    while (done < due && performance.now() - began < turnMs) this.#waiting[done++]?.nextSlice()
    this.#waiting = this.#waiting.slice(done)
    if (this.#waiting.length > 0) this.#schedule()
  }
}
