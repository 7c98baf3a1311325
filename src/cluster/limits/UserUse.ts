// What one user uses on this instance. All connections of the user share the object, so that a request costs a few
// additions and no lookup.
//
// Requests: a token bucket of `rate` tokens that refills at `rate` per second. While the user sends requests to other
// instances too, this instance has a `share` of both; the shares of all instances add up to 1.
//
// Bytes: `total` is what was written in the current day over all instances, as of the last exchange; `unsettled` is
// what was written here since. A day begins with its first byte.
import type { SettingsShape } from "../../Settings.ts"

export type UserBounds = Pick<SettingsShape, "USER_BYTES_PER_DAY" | "USER_CONNECTIONS" | "USER_RATE">

export interface UseListener {
  /** The first request since `demand` was read. */
  readonly asked: (use: UserUse) => void
  readonly wrote: (use: UserUse) => void
}

export const dayMs = 86_400_000

export class UserUse {
  readonly user: string
  share: number
  /** Open here, including those being admitted. */
  connections = 0
  unsettled = 0
  #total = 0
  /** When the day is over; 0: no day has begun. */
  #dayEnds = 0
  #tokens: number
  #at: number
  #asked = 0
  readonly #bounds: UserBounds
  readonly #listener: UseListener

  constructor(user: string, bounds: UserBounds, listener: UseListener, now: number, share: number) {
    this.user = user
    this.#bounds = bounds
    this.#listener = listener
    this.share = share
    this.#tokens = this.#capacity
    this.#at = now
  }

  get #capacity(): number {
    return Math.max(1, this.#bounds.USER_RATE * this.share)
  }

  /** Takes tokens: 0, or the milliseconds until so many are available. */
  take(now: number, count = 1): number {
    if (this.#asked === 0) this.#listener.asked(this)
    this.#asked += count
    const perMs = (this.#bounds.USER_RATE * this.share) / 1000
    this.#tokens = Math.min(this.#capacity, this.#tokens + Math.max(0, now - this.#at) * perMs)
    this.#at = now
    const wanted = Math.min(count, this.#capacity)
    if (this.#tokens < wanted) return Math.ceil((wanted - this.#tokens) / perMs)
    this.#tokens -= wanted
    return 0
  }

  /** Requests since the last call, including refused ones. */
  demand(): number {
    const asked = this.#asked
    this.#asked = 0
    return asked
  }

  /** Counts bytes: 0, or the milliseconds until the user may write again (then nothing is counted). */
  write(bytes: number, now: number): number {
    if (now >= this.#dayEnds) {
      this.#total = 0
      this.unsettled = 0
      this.#dayEnds = now + dayMs
    }
    if (this.written + bytes > this.#bounds.USER_BYTES_PER_DAY) return Math.max(1, this.#dayEnds - now)
    this.unsettled += bytes
    this.#listener.wrote(this)
    return 0
  }

  /** Bytes of this day, as far as this instance knows. */
  get written(): number {
    return this.#total + this.unsettled
  }

  /** `bytes` of the unsettled ones are in `total` now, which is over all instances and counts for another `leftMs`. */
  settle(bytes: number, total: number, leftMs: number, now: number): void {
    this.unsettled = Math.max(0, this.unsettled - bytes)
    this.#total = total
    this.#dayEnds = leftMs > 0 ? now + leftMs : 0
  }

  /** For an instance that shares with no other. */
  settleAlone(): void {
    this.#total += this.unsettled
    this.unsettled = 0
  }

  /**
   * True if the user would return to the same quota: the bucket is full again, and bytes are settled or out of date.
   */
  isForgettable(now: number, isSettledElsewhere: boolean): boolean {
    if (this.connections > 0 || this.unsettled > 0 || now - this.#at < 2000) return false
    return isSettledElsewhere || this.#total === 0 || now >= this.#dayEnds
  }
}
