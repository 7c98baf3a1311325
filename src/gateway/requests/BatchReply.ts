// Gathers the replies to one batch and limits their size: a batch may be a frame of a few hundred bytes whose requests
// are each answered with a page.

export class BatchReply {
  readonly #replies: Array<string>
  readonly #maxBytes: number
  bytes = 0

  /** `maxBytes`: what may wait for the connection. */
  constructor(replies: ReadonlyArray<string>, maxBytes: number) {
    this.#replies = [...replies]
    this.#maxBytes = maxBytes
    for (const reply of replies) this.bytes += Buffer.byteLength(reply)
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
