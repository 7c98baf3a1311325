// Reads the text of an answer that comes in parts: as `text/event-stream` or as lines of JSON (NDJSON). Each event's
// data, or each line, is one piece. A piece is JSON (a text, or an object with a text where `result` points or under
// the usual names) or, in an event stream, plain text. Pieces without text are skipped. The text ends at `[DONE]`, at
// the limit of characters, or at the limit of bytes of an answer. An event named `error`, or a piece with an `error`,
// makes the whole answer invalid.
import { Result } from "effect"
import type { AnswerReader } from "../../infra/http/Http.ts"
import { nestsDeeperThan } from "../../protocol/JsonRpc.ts"

const eventStream = /^text\/event-stream\b/i
const lines = /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines)\b/i
/** Characters of a line. */
const maxLine = 131_072
const names = ["text", "delta", "content", "response"] as const

/** The text in an answer's body, or in a piece of it. */
export const textOf = (body: unknown): string | undefined => {
  if (typeof body === "string") return body
  if (typeof body !== "object" || body === null) return undefined
  const found = names.map((name) => (body as Readonly<Record<string, unknown>>)[name])
  return found.find((one) => typeof one === "string")
}

/** How models report a failure midway, long after the status was sent. */
const isError = (piece: unknown): boolean => {
  if (typeof piece !== "object" || piece === null || !("error" in piece)) return false
  return piece.error !== null && piece.error !== undefined && piece.error !== false && piece.error !== ""
}

/** Cuts a text to so many characters, without splitting a surrogate pair. */
export const cut = (text: string, characters: number): string => {
  if (text.length <= characters) return text
  const start = text.slice(0, characters)
  return start.isWellFormed() ? start : start.slice(0, -1)
}

const fieldOf = (line: string, from: number): string => line.slice(line[from] === " " ? from + 1 : from)

export interface TextOptions {
  readonly maxCharacters: number
  readonly maxDepth: number
  /** Applies the definition's `result` to a piece. */
  readonly map: (piece: unknown) => unknown
  /** Called with each new part of the text; never empty. */
  readonly onText: (text: string) => void
}

export class TextStream implements AnswerReader {
  /** The text so far. */
  text = ""
  /** Whether the answer comes in parts. */
  isInParts = false
  /** A piece was an error, or could not be read. */
  isBroken = false
  readonly #options: TextOptions
  readonly #decoder = new TextDecoder()
  #isEvents = false
  #isOver = false
  #isAfterCr = false
  /** The beginning of a line whose end has not come. */
  #rest = ""
  #data: Array<string> = []
  #name = ""

  constructor(options: TextOptions) {
    this.#options = options
  }

  begins(status: number, contentType: string): boolean {
    if (status < 200 || status > 299) return false
    this.#isEvents = eventStream.test(contentType)
    this.isInParts = this.#isEvents || lines.test(contentType)
    return this.isInParts
  }

  takes(part: Buffer): boolean {
    this.#read(this.#decoder.decode(part, { stream: true }), false)
    return !this.#isOver
  }

  /** Reaching the byte limit ends the text like reaching the character limit. An incomplete piece is dropped. */
  isFull(): boolean {
    this.#isOver = true
    return this.text !== ""
  }

  /** The answer is complete. A last line without a line break counts. */
  ends(): void {
    this.#read(this.#decoder.decode(), true)
    if (this.#isEvents) this.#event()
  }

  /** Scans the new part only: a line may come in as many parts as it has characters. */
  #read(more: string, isLast: boolean): void {
    let text = this.#isAfterCr ? `\r${more}` : more
    // A CR at the very end may be half of a CRLF, so it is held back.
    this.#isAfterCr = !isLast && text.endsWith("\r")
    if (this.#isAfterCr) text = text.slice(0, -1)
    let from = 0
    for (const { 0: end, index } of text.matchAll(/\r\n|\n|\r/g)) {
      this.#line(this.#rest + text.slice(from, index))
      this.#rest = ""
      from = index + end.length
      if (this.#isOver) return
    }
    this.#rest += text.slice(from)
    if (this.#rest.length > maxLine) this.#break()
    if (isLast && this.#rest !== "") this.#line(this.#rest)
  }

  #line(line: string): void {
    if (this.#isOver) return
    if (!this.#isEvents) {
      if (line.trim() !== "") this.#piece(line)
    } else if (line === "") this.#event()
    else if (line.startsWith("data:")) this.#data.push(fieldOf(line, 5))
    else if (line.startsWith("event:")) this.#name = fieldOf(line, 6)
  }

  #event(): void {
    const [data, name] = [this.#data, this.#name]
    this.#data = []
    this.#name = ""
    if (data.length === 0 || this.#isOver) return
    if (name === "error") this.#break()
    else this.#piece(data.join("\n"))
  }

  #piece(piece: string): void {
    if (piece.trim() === "[DONE]") {
      this.#isOver = true
      return
    }
    const text = this.#isEvents && !/^\s*[[{"]/.test(piece) ? piece : this.#textIn(piece)
    if (text === undefined || text === "") return
    const { maxCharacters, onText } = this.#options
    const fits = cut(text, maxCharacters - this.text.length)
    this.text += fits
    if (fits !== "") onText(fits)
    if (fits.length < text.length || this.text.length >= maxCharacters) this.#isOver = true
  }

  #textIn(piece: string): string | undefined {
    if (nestsDeeperThan(piece, this.#options.maxDepth)) return this.#break()
    const parsed = Result.try(() => JSON.parse(piece) as unknown)
    if (Result.isFailure(parsed)) return this.#isEvents ? piece : this.#break()
    if (isError(parsed.success)) return this.#break()
    return textOf(this.#options.map(parsed.success))
  }

  #break(): undefined {
    this.isBroken = true
    this.#isOver = true
  }
}
