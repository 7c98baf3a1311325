// How much waits in the buffer, and for how long, as far as this instance knows: what it read last, and what it has added
// since. Above half of a limit everything is due at once, see WriteMode.ts.
import { Duration } from "effect"
import type { Metrics } from "../../observability/Metrics.ts"
import type { SettingsShape } from "../../Settings.ts"
import type { Depth } from "./WriteBuffer.ts"

export class BufferPressure {
  #depth: Depth | undefined
  #added = 0
  readonly #maxEntries: number
  readonly #maxAgeMs: number

  constructor({ BUFFER_AGE, BUFFER_ENTRIES }: SettingsShape, { gauge }: Metrics["Service"]) {
    this.#maxEntries = BUFFER_ENTRIES
    this.#maxAgeMs = Duration.toMillis(BUFFER_AGE)
    gauge("buffer_entries", "Documents and messages that wait to be saved, on all instances", () => this.entries)
    const age = () => this.#ageMs / 1000
    gauge("buffer_oldest_age_seconds", "Age of the oldest that waits", age, { buffer: "rooms" })
  }

  get entries(): number {
    return (this.#depth?.entries ?? 0) + this.#added
  }

  get #ageMs(): number {
    return this.#depth?.oldestAgeMs ?? 0
  }

  /** The incarnation of Redis that was read last. */
  get incarnation(): string | undefined {
    return this.#depth?.run
  }

  /** Whether a server's run belongs to that incarnation. */
  knows(run: string): boolean {
    return this.#depth?.runs.includes(run) === true
  }

  note(depth: Depth): void {
    this.#depth = depth
    this.#added = 0
  }

  added(entries: number): void {
    this.#added += entries
  }

  /** Nothing more may be acknowledged. */
  get isFull(): boolean {
    return this.entries >= this.#maxEntries || this.#ageMs > this.#maxAgeMs
  }

  get isNearFull(): boolean {
    return this.entries * 2 >= this.#maxEntries || this.#ageMs * 2 > this.#maxAgeMs
  }
}
