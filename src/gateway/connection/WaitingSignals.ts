// Signals that wait for a client that reads slowly. Of those with one key the last one waits; of more than `maxKeys`
// the oldest are left out; and all of them wait until everything else was read: they are the first to be left out.
import { makeBoundedMap } from "../../infra/BoundedMap.ts"

const maxKeys = 64
/** How often it is checked whether the client has read everything else. */
const probeEveryMs = 20

export interface SignalSink {
  readonly isOpen: () => boolean
  /** Whether nothing waits for the client. */
  readonly isIdle: () => boolean
  readonly write: (frame: Buffer) => void
}

export class WaitingSignals {
  readonly #sink: SignalSink
  readonly #byKey = makeBoundedMap<Buffer>(maxKeys)
  #isProbing = false

  constructor(sink: SignalSink) {
    this.#sink = sink
  }

  add(key: string, frame: Buffer): void {
    this.#byKey.set(key, frame)
    this.#probe()
  }

  get isEmpty(): boolean {
    return this.#byKey.size === 0
  }

  #probe(): void {
    if (this.#isProbing) return
    this.#isProbing = true
    setTimeout(() => {
      this.#isProbing = false
      if (!this.#sink.isOpen()) return this.#byKey.clear()
      if (!this.#sink.isIdle()) return this.#probe()
      // The oldest first.
      for (const frame of this.#byKey.rvalues()) if (frame !== undefined) this.#sink.write(frame)
      this.#byKey.clear()
    }, probeEveryMs)
  }
}
