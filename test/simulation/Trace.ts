// The last steps of a run, and a hash of all of them: two runs of one seed have the same.
import type { SimulatedProcess } from "./EventLoop.ts"

const kept = 4000
const maxDetail = 160

export class Trace {
  hash = 0x811c9dc5
  count = 0
  readonly #lines: Array<string> = []
  readonly #startedAt: number
  readonly #isWritten: boolean
  #isStopped = false

  constructor(startedAt: number, isWritten: boolean) {
    this.#startedAt = startedAt
    this.#isWritten = isWritten
  }

  /** FNV-1a. */
  #add(text: string): void {
    let hash = this.hash
    for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
    this.hash = hash >>> 0
  }

  /** Keeps the steps up to here, when something is found to be wrong, rather than those up to the end. */
  stop(): void {
    this.#isStopped = true
  }

  /** `detail` is written and not hashed. */
  readonly note = (process: SimulatedProcess, what: string, detail?: () => string): void => {
    this.count++
    const at = process.loop.now - this.#startedAt
    this.hash = Math.imul(this.hash ^ at ^ (process.loop.steps << 8), 0x01000193) >>> 0
    this.#add(what)
    if (!this.#isWritten || this.#isStopped) return
    const more = detail === undefined ? "" : ` ${detail().slice(0, maxDetail)}`
    this.#lines.push(`${(at / 1000).toFixed(3).padStart(8)} ${process.name.padEnd(8)} ${what}${more}`)
    if (this.#lines.length > 2 * kept) this.#lines.splice(0, kept)
  }

  last(count = 200): ReadonlyArray<string> {
    return this.#lines.slice(-count)
  }
}
