// What a connection needs of its socket. `ws` and the TCP socket under it have it; so has a socket in memory.

/** The WebSocket: whether it is open, and what can be done with it. */
export interface FrameSocket {
  readonly readyState: number
  readonly OPEN: number
  /** Stops reading: the client feels backpressure. */
  pause(): void
  resume(): void
  ping(): void
  close(code: number, reason: string): void
  /** Ends it without a close frame. */
  terminate(): void
}

/** Where encoded frames go. */
export interface ByteSink {
  /** Bytes that the client has not taken yet. */
  readonly writableLength: number
  write(bytes: Buffer): boolean
  /** Gathers what is written until `uncork`. */
  cork(): void
  uncork(): void
  once(event: "drain", listener: () => void): unknown
}
