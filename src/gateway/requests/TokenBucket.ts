// How fast one connection may ask: `burst` at once, `rate` a second after that; and how fast it may be refused: as much
// again. What is served and what is refused are counted apart, so that a client that waits as long as `retryAfterMs` says
// is served, however many of its requests were refused meanwhile. Three numbers a connection.

export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  /** Refusals that are still free; below zero the client owes, and is not read until it has paid. */
  #refusals: number
  #at: number

  /** `rate` per second; `now` in milliseconds. */
  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate
    this.#burst = burst
    this.#tokens = burst
    this.#refusals = burst
    this.#at = now
  }

  #refill(now: number): void {
    const gained = (Math.max(0, now - this.#at) * this.#rate) / 1000
    this.#tokens = Math.min(this.#burst, this.#tokens + gained)
    this.#refusals = Math.min(this.#burst, this.#refusals + gained)
    this.#at = now
  }

  /** Takes a token: 0, or the milliseconds until there is one. */
  take(now: number): number {
    this.#refill(now)
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) * 1000) / this.#rate)
    this.#tokens -= 1
    return 0
  }

  /** Charges what found no token. */
  refuse(count = 1): void {
    this.#refusals -= count
  }

  /** Charges what is answered without being served, or needs no answer: tokens as far as there are, then refusals. */
  charge(now: number, count = 1): void {
    this.#refill(now)
    const paid = Math.min(count, Math.floor(this.#tokens))
    this.#tokens -= paid
    this.#refusals -= count - paid
  }

  /** How many milliseconds it takes to pay what is owed; 0: nothing is. */
  get debtMs(): number {
    return this.#refusals >= 0 ? 0 : Math.ceil((-this.#refusals * 1000) / this.#rate)
  }
}
