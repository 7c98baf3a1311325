// What one user uses on this instance, and may: one object, shared by all of the user's connections, so that a request costs
// a few additions and no look-up.
//
// Requests: a bucket of `rate` tokens that fills at `rate` a second. While the user asks on other instances too, this instance
// has a `share` of both; the shares of all instances are one together.
//
// Bytes: what was written in the current day over all instances, as far as it was heard (`total`), and what was written here
// and is not settled with the others (`unsettled`). A day begins with the first byte.

export interface UserBounds {
  readonly connections: number
  readonly rate: number
  readonly bytesPerDay: number
}

/** Told by a user's object what has to be looked at. */
export interface UseListener {
  /** It was asked for the first time since `demand` was taken. */
  readonly asked: (use: UserUse) => void
  readonly wrote: (use: UserUse) => void
}

export const dayMs = 86_400_000

export class UserUse {
  readonly user: string
  /** Open here, those that are being let in included. */
  connections = 0
  unsettled = 0
  #total = 0
  /** When the day is over; 0: none has begun. */
  #dayEnds = 0
  #tokens: number
  #at: number
  #share = 1
  #asked = 0
  readonly #bounds: UserBounds
  readonly #listener: UseListener

  constructor(user: string, bounds: UserBounds, listener: UseListener, now: number, share: number) {
    this.user = user
    this.#bounds = bounds
    this.#listener = listener
    this.#share = share
    this.#tokens = this.#most
    this.#at = now
  }

  get #most(): number {
    return Math.max(1, this.#bounds.rate * this.#share)
  }

  /** Takes a request's token, or `count` of them: 0, or the milliseconds until there are so many. */
  take(now: number, count = 1): number {
    if (this.#asked === 0) this.#listener.asked(this)
    this.#asked += count
    const perMs = (this.#bounds.rate * this.#share) / 1000
    this.#tokens = Math.min(this.#most, this.#tokens + Math.max(0, now - this.#at) * perMs)
    this.#at = now
    const wanted = Math.min(count, this.#most)
    if (this.#tokens < wanted) return Math.ceil((wanted - this.#tokens) / perMs)
    this.#tokens -= wanted
    return 0
  }

  /** Requests since it was last asked, refused ones included. */
  demand(): number {
    const asked = this.#asked
    this.#asked = 0
    return asked
  }

  get share(): number {
    return this.#share
  }

  set share(share: number) {
    this.#share = share
  }

  /** Counts what is written: 0; or the milliseconds until the user may write again, and counts nothing. */
  write(bytes: number, now: number): number {
    this.#begin(now)
    if (this.written + bytes > this.#bounds.bytesPerDay) return Math.max(1, this.#dayEnds - now)
    this.unsettled += bytes
    this.#listener.wrote(this)
    return 0
  }

  /** Bytes of this day, as far as this instance knows. */
  get written(): number {
    return this.#total + this.unsettled
  }

  /** `bytes` of the unsettled ones are in `total` now, which is over all instances and counts for `leftMs` more. */
  settle(bytes: number, total: number, leftMs: number, now: number): void {
    this.unsettled = Math.max(0, this.unsettled - bytes)
    this.#total = total
    this.#dayEnds = leftMs > 0 ? now + leftMs : 0
  }

  /** There is nobody to settle with. */
  settleAlone(): void {
    this.#total += this.unsettled
    this.unsettled = 0
  }

  /** Nothing is lost when this object is forgotten: whoever comes back begins where they would be. */
  isForgettable(now: number, isSettledElsewhere: boolean): boolean {
    if (this.connections > 0 || this.unsettled > 0 || now - this.#at < 2000) return false
    return isSettledElsewhere || this.#total === 0 || now >= this.#dayEnds
  }

  #begin(now: number): void {
    if (now < this.#dayEnds) return
    this.#total = 0
    this.unsettled = 0
    this.#dayEnds = now + dayMs
  }
}
