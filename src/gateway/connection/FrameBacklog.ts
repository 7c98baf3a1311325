// The frames of one connection that were received and not begun, first in, first out. Its owner limits it: a socket
// whose connection has a backlog is paused, so it holds what one read of the socket brought and what single later reads
// add.

/** Entries that were taken are cut off when there are so many of them. */
const maxTaken = 1024

export class Backlog {
  #texts: Array<string> = []
  #next = 0
  /** In UTF-16 units, which are bytes as far as the text is ASCII. */
  size = 0

  get length(): number {
    return this.#texts.length - this.#next
  }

  push(text: string): void {
    this.#texts.push(text)
    this.size += text.length
  }

  shift(): string | undefined {
    const text = this.#texts[this.#next]
    if (text === undefined) return undefined
    this.#next++
    this.size -= text.length
    // Array.shift would move all other entries each time.
    if (this.#next >= maxTaken) {
      this.#texts = this.#texts.slice(this.#next)
      this.#next = 0
    }
    return text
  }
}
