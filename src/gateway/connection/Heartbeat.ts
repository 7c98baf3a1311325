// Finds dead connections: a ping goes out every PING_INTERVAL, and its pong has to come within PONG_TIMEOUT. Any frame
// of the client counts as its pong: the pong itself may be queued behind megabytes of requests.

export class Heartbeat {
  #pingedAt: number
  /** When the first ping without a sign of life after it was sent. */
  #awaitedSince: number | undefined

  /** The first pings of connections that were opened together are spread over a second. */
  constructor(now: number) {
    this.#pingedAt = now - Math.random() * 1000
  }

  /** Whether a ping was waiting for this sign of life. */
  alive(): boolean {
    const wasAwaited = this.#awaitedSince !== undefined
    this.#awaitedSince = undefined
    return wasAwaited
  }

  isOverdue(now: number, pongTimeout: number): boolean {
    return this.#awaitedSince !== undefined && now - this.#awaitedSince >= pongTimeout
  }

  /** Whether a ping is to be sent now. */
  pings(now: number, interval: number): boolean {
    if (now - this.#pingedAt < interval) return false
    this.#pingedAt = now
    this.#awaitedSince ??= now
    return true
  }
}
