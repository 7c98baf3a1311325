// The text of an answer that comes in parts, as `text/event-stream` or as lines of JSON (NDJSON): each event's data,
// or each line, is one piece. A piece is JSON (a text, or an object that has one, where `result` points or under the
// usual names) or, in an event stream, plain text. One without text is passed over; `[DONE]` ends it, as do as many
// characters as are wanted, and as many bytes as an answer may have. An event named `error`, or a piece with an
// `error`, says that what came is no good answer.
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

/** What models say when they fail midway, the status long sent. */
const isError = (piece: unknown): boolean => {
  if (typeof piece !== "object" || piece === null || !("error" in piece)) return false
  return piece.error !== null && piece.error !== undefined && piece.error !== false && piece.error !== ""
}

/** Cut to so many characters, none of them in half. */
export const cut = (text: string, characters: number): string => {
  if (text.length <= characters) return text
  const kept = text.slice(0, characters)
  return kept.isWellFormed() ? kept : kept.slice(0, -1)
}

const valueOf = (line: string, from: number): string => line.slice(line[from] === " " ? from + 1 : from)

interface Options {
  readonly maxCharacters: number
  readonly maxDepth: number
  /** As an integration's definition says of each piece. */
  readonly map: (piece: unknown) => unknown
  /** What has just come; never empty. */
  readonly onText: (text: string) => void
}

export class TextStream implements AnswerReader {
  /** All of it so far. */
  text = ""
  /** Whether the answer came in parts at all. */
  isInParts = false
  /** A piece was nothing that has a text, or an error. */
  isBroken = false
  readonly #options: Options
  readonly #decoder = new TextDecoder()
  #isEvents = false
  #isOver = false
  #isAfterCr = false
  /** Of a line whose end has not come. */
  #rest = ""
  #data: Array<string> = []
  #name = ""

  constructor(options: Options) {
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

  /** Text ends there as it does at its own bound; a piece that came in half is none. */
  isFull(): boolean {
    this.#isOver = true
    return this.text !== ""
  }

  /** Nothing more comes: what stands on a last line without an end counts. */
  ends(): void {
    this.#read(this.#decoder.decode(), true)
    if (this.#isEvents) this.#event()
  }

  /** Looks at what has just come only: a line may come in as many parts as it has characters. */
  #read(more: string, isLast: boolean): void {
    let text = this.#isAfterCr ? `\r${more}` : more
    // A CR at the very end may be half of a CRLF: it waits for what follows.
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
    else if (line.startsWith("data:")) this.#data.push(valueOf(line, 5))
    else if (line.startsWith("event:")) this.#name = valueOf(line, 6)
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
    const kept = cut(text, maxCharacters - this.text.length)
    this.text += kept
    if (kept !== "") onText(kept)
    if (kept.length < text.length || this.text.length >= maxCharacters) this.#isOver = true
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
