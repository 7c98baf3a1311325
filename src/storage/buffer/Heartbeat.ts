// Whether somebody who is asked all the time has answered without a gap.

export class Contact {
  #at = Number.NEGATIVE_INFINITY
  #since = Number.POSITIVE_INFINITY
  readonly #gapMs: number

  /** `gapMs`: what lies between two answers, at the most, while they are there. */
  constructor(gapMs: number) {
    this.#gapMs = gapMs
  }

  made(now: number): void {
    if (now - this.#at > this.#gapMs) this.#since = now
    this.#at = now
  }

  /** For so long, up to now. */
  isSteady(now: number, forMs: number): boolean {
    return now - this.#at <= this.#gapMs && now - this.#since >= forMs
  }
}
