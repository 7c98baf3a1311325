// Signals that wait for a client that reads slowly. Of those with one key the last one waits; of more than `maxKeys`
// the oldest are left out; and all of them wait until everything else was read: they are the first to be left out.

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
  /** Those that came last are last. */
  readonly #byKey = new Map<string, Buffer>()
  #isProbing = false

  constructor(sink: SignalSink) {
    this.#sink = sink
  }

  add(key: string, frame: Buffer): void {
    this.#byKey.delete(key)
    this.#byKey.set(key, frame)
    if (this.#byKey.size > maxKeys) {
      const [oldest = ""] = this.#byKey.keys()
      this.#byKey.delete(oldest)
    }
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
      for (const frame of this.#byKey.values()) this.#sink.write(frame)
      this.#byKey.clear()
    }, probeEveryMs)
  }
}
