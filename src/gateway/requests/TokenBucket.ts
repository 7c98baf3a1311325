// The rate of one connection: `burst` requests at once, then `rate` a second; and as many refusals again. Requests and
// refusals are counted apart, so that a client that waits as long as `retryAfterMs` says is served, however many of its
// requests were refused meanwhile.
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import { RateLimited } from "../../domain/Overload.ts"

export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  /** Refusals that are free; below zero the client owes, and is not read until it has paid. */
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

  /** Takes a token and returns 0; or returns the milliseconds until there is one. */
  take(now: number): number {
    this.#refill(now)
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) * 1000) / this.#rate)
    this.#tokens -= 1
    return 0
  }

  /** Charges a request that found no token. */
  refuse(): void {
    this.#refusals -= 1
  }

  /** Charges a frame that is refused or needs no answer: tokens first, then refusals. */
  charge(now: number, count = 1): void {
    this.#refill(now)
    const paid = Math.min(count, Math.floor(this.#tokens))
    this.#tokens -= paid
    this.#refusals -= count - paid
  }

  /** Milliseconds until what the client owes is paid; 0: it owes nothing. */
  get debtMs(): number {
    return this.#refusals >= 0 ? 0 : Math.ceil((-this.#refusals * 1000) / this.#rate)
  }
}

/**
 * A request needs a token of its connection and one of its user. Takes both; otherwise returns the refusal, which is
 * charged to the connection.
 */
export const takeTokens = (bucket: TokenBucket, use: UserUse, now: number): RateLimited | undefined => {
  const wait = bucket.take(now)
  const userWait = wait > 0 ? 0 : use.take(now)
  if (wait + userWait === 0) return undefined
  bucket.refuse()
  return new RateLimited({ limit: wait > 0 ? "connection" : "user", retryAfterMs: wait + userWait })
}
