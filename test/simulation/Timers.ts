// The timers of all processes, the earliest first.
import type { Lane, SimulatedProcess } from "./EventLoop.ts"

export interface Timer {
  readonly at: number
  readonly order: number
  readonly process: SimulatedProcess
  readonly lane: Lane | undefined
  task: (() => void) | undefined
}

const isEarlier = (a: Timer, b: Timer) => a.at < b.at || (a.at === b.at && a.order < b.order)

/** A binary heap, the earliest first. */
export class Timers {
  readonly #heap: Array<Timer> = []

  get first(): Timer | undefined {
    return this.#heap[0]
  }

  push(timer: Timer): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(timer)
    while (index > 0) {
      const above = (index - 1) >>> 1
      const parent = heap[above]
      if (parent === undefined || !isEarlier(timer, parent)) break
      heap[index] = parent
      index = above
    }
    heap[index] = timer
  }

  shift(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      const [a, b] = [heap[left], heap[left + 1]]
      if (a === undefined) break
      const child = b !== undefined && isEarlier(b, a) ? b : a
      if (!isEarlier(child, last)) break
      heap[index] = child
      index = child === b ? left + 1 : left
    }
    heap[index] = last
  }
}
