// How much waits in the buffer, and for how long, as far as this instance knows: what was read last, and what it has added since.
import { Duration } from "effect"
import type { Metrics } from "../../observability/Metrics.ts"
import type { SettingsShape } from "../../Settings.ts"
import type { Depth } from "./WriteBuffer.ts"

export class BufferPressure {
  #read: Depth = { entries: 0, oldestAgeMs: undefined, run: "", runs: [], origin: "" }
  #added = 0
  readonly #mostEntries: number
  readonly #mostAgeMs: number

  constructor({ BUFFER_AGE, BUFFER_ENTRIES }: SettingsShape, { gauge }: Metrics["Service"]) {
    this.#mostEntries = BUFFER_ENTRIES
    this.#mostAgeMs = Duration.toMillis(BUFFER_AGE)
    gauge("buffer_entries", "Documents and messages that wait to be saved, on all instances", () => this.entries)
    const age = () => this.#ageMs / 1000
    gauge("buffer_oldest_age_seconds", "Age of the oldest that waits", age, { buffer: "rooms" })
  }

  get entries(): number {
    return this.#read.entries + this.#added
  }

  get #ageMs(): number {
    return this.#read.oldestAgeMs ?? 0
  }

  get run(): string {
    return this.#read.run
  }

  knows(run: string): boolean {
    return this.#read.runs.includes(run)
  }

  note(depth: Depth): void {
    this.#read = depth
    this.#added = 0
  }

  added(entries: number): void {
    this.#added += entries
  }

  /** As much waits, or for as long, as may. */
  get isFull(): boolean {
    return this.entries >= this.#mostEntries || this.#ageMs > this.#mostAgeMs
  }

  /** Half as much, or for half as long. */
  get isNearFull(): boolean {
    return this.entries * 2 >= this.#mostEntries || this.#ageMs * 2 > this.#mostAgeMs
  }
}
