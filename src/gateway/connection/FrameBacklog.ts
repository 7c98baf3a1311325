// Frames of one connection that were read and wait for their turn, first in, first out. Its owner bounds it: a socket whose
// connection has a backlog is paused, so the backlog holds what one read brought, and what single later reads add to it.

/** Taken entries that are kept in front of the others before they are cut off. */
const maxTaken = 1024

export class Backlog {
  #texts: Array<string> = []
  #next = 0
  /** UTF-16 units: bytes, as far as the text is ASCII. */
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
    // Array.shift moves all that is left, each time.
    if (this.#next >= maxTaken) {
      this.#texts = this.#texts.slice(this.#next)
      this.#next = 0
    }
    return text
  }
}
