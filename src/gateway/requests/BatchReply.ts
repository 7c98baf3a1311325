// Gathers the replies to one batch and limits their size: a frame of a few hundred bytes may be answered with many
// pages.

export class BatchReply {
  readonly #replies: Array<string> = []
  readonly #maxBytes: number
  bytes = 0

  /** `maxBytes`: what may wait for the connection. */
  constructor(replies: ReadonlyArray<string>, maxBytes: number) {
    this.#maxBytes = maxBytes
    for (const reply of replies) this.add(reply)
  }

  add(reply: string | undefined): void {
    if (reply === undefined) return
    this.bytes += Buffer.byteLength(reply)
    this.#replies.push(reply)
  }

  /** When it is full, no further request is begun; those under way are answered. */
  get isFull(): boolean {
    return this.bytes >= this.#maxBytes / 2
  }

  get text(): string | undefined {
    return this.#replies.length === 0 ? undefined : `[${this.#replies.join(",")}]`
  }
}
