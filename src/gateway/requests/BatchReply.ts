// The replies to one batch as they are gathered, and the bound of what they come to: a batch is one frame of a few hundred
// bytes, and each of its requests may be answered with a page.

export class BatchReply {
  readonly #replies: Array<string>
  readonly #most: number
  bytes = 0

  /** `most`: what may wait for the connection, in bytes. */
  constructor(replies: ReadonlyArray<string>, most: number) {
    this.#replies = [...replies]
    this.#most = most
    for (const reply of replies) this.bytes += Buffer.byteLength(reply)
  }

  add(reply: string | undefined): void {
    if (reply === undefined) return
    this.bytes += Buffer.byteLength(reply)
    this.#replies.push(reply)
  }

  /** Nothing more is begun; what is under way is answered as if it had been asked for by itself. */
  get isFull(): boolean {
    return this.bytes >= this.#most / 2
  }

  get text(): string | undefined {
    return this.#replies.length === 0 ? undefined : `[${this.#replies.join(",")}]`
  }
}
