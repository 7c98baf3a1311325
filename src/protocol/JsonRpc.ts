// JSON-RPC 2.0 (https://www.jsonrpc.org/specification) as a codec: text in, requests out; results in, text out. It
// knows no sockets and no effects. Every frame decodes to something that can be answered.
import { Predicate, Result } from "effect"
import { endOfString, inexactNumbers, withExactNumbers } from "../domain/ExactNumbers.ts"
import { ErrorCodes, type ErrorType, type ProtocolError } from "./ErrorCodes.ts"

export type Id = string | number | null

export interface Request {
  readonly _tag: "Request"
  /** Undefined for a notification, which is never answered. */
  readonly id: Id | undefined
  readonly method: string
  readonly params: unknown
  /** A number of the message that a double can't hold; `params` has another one in its place. */
  readonly inexact?: string
}

export interface Invalid {
  readonly _tag: "Invalid"
  readonly id: Id
  readonly error: ProtocolError
  /** In requests, if not 1: a batch that is too long costs as much as the longest that is accepted. */
  readonly cost?: number
}

export type Message = Request | Invalid

/** One message, or a batch of them in the order they came. */
type Frame = Message | ReadonlyArray<Message>

const invalid = (message: string, id: Id = null): Invalid => ({
  _tag: "Invalid",
  id,
  error: { _tag: "InvalidRequest", message }
})

/** By one scan before anything is parsed: 60 kB of `[` cost a scan of 60 kB, and neither memory nor stack. */
export const nestsDeeperThan = (text: string, max: number): boolean => {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === 34) i = endOfString(text, i)
    else if (char === 91 || char === 123) {
      if (++depth > max) return true
    } else if (char === 93 || char === 125) depth--
  }
  return false
}

const example = '{"jsonrpc":"2.0","id":1,"method":"session.get","params":{}}'
const notJson: Invalid = {
  _tag: "Invalid",
  id: null,
  error: { _tag: "ParseError", message: `not JSON; a request looks like ${example}` }
}

/** A number that JSON.parse changed could not be sent back as it was, so it is not accepted as an id. */
const isId = (id: unknown): id is Id =>
  id === null ||
  typeof id === "string" ||
  (typeof id === "number" && (Number.isInteger(id) ? Number.isSafeInteger(id) : Number.isFinite(id)))

const decodeMessage = (value: unknown): Message => {
  if (!Predicate.isObject(value) || Array.isArray(value)) return invalid(`a request is an object: ${example}`)
  const message = value as { readonly [key: string]: unknown }
  const hasId = Object.hasOwn(message, "id")
  if (hasId && !isId(message["id"])) return invalid("id is a string, a number that a double holds exactly, or null")
  const id = hasId ? (message["id"] as Id) : undefined
  if (message["jsonrpc"] !== "2.0") return invalid('jsonrpc must be "2.0"', id)
  const method = message["method"]
  if (typeof method !== "string") return invalid("method must be a string", id)
  const params = message["params"]
  if (Object.hasOwn(message, "params") && (typeof params !== "object" || params === null)) {
    return invalid("params must be an object", id)
  }
  return { _tag: "Request", id, method, params }
}

export const decode = (text: string, maxDepth: number, maxBatch: number): Frame => {
  if (nestsDeeperThan(text, maxDepth)) return invalid(`nested deeper than ${maxDepth}`)
  const parsed = Result.try(() => JSON.parse(text) as unknown)
  if (Result.isFailure(parsed)) return notJson
  const value = parsed.success
  const numbers = inexactNumbers(text, true)
  if (!Array.isArray(value)) return marked(decodeMessage(value), numbers.at(-1)?.source)
  if (value.length === 0) return invalid("an empty batch: send at least one request")
  if (value.length > maxBatch) {
    return { ...invalid(`a batch of ${value.length}: it may hold ${maxBatch} requests`), cost: maxBatch }
  }
  const sources = new Map(numbers.map(({ element, source }) => [element, source]))
  return value.map((item, element) => marked(decodeMessage(item), sources.get(element)))
}

const marked = (message: Message, inexact: string | undefined): Message =>
  inexact === undefined || message._tag === "Invalid" ? message : { ...message, inexact }

/**
 * A value of type `A` as JSON text, so that a reply with it needs no second encoding. Within another value
 * `JSON.stringify` writes it as that value. Copied field by field it has nothing.
 */
export class EncodedJson<out A = unknown> {
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }

  get text(): string {
    return this.#text
  }

  /** Parsed anew each time. */
  get value(): A {
    return JSON.parse(this.#text) as A
  }

  toJSON(): unknown {
    return withExactNumbers(this.#text)
  }
}

const encodeValue = (value: unknown): string => (value instanceof EncodedJson ? value.text : JSON.stringify(value))

const encodeId = (id: Id): string => (typeof id === "number" ? String(id) : JSON.stringify(id))

export const encodeResult = (id: Id, result: unknown): string =>
  `{"jsonrpc":"2.0","id":${encodeId(id)},"result":${encodeValue(result ?? {})}}`

/** `fields` are the error's own fields in `data`, besides `type`, `retryable` and `traceId`. */
export const errorObject = (
  type: ErrorType,
  message: string,
  traceId: string,
  fields: Readonly<Record<string, unknown>> = {}
) => {
  const { code, retryable } = ErrorCodes[type]
  return { code, message, data: { type, retryable, ...fields, traceId } }
}

export const encodeError = (
  id: Id,
  type: ErrorType,
  message: string,
  traceId: string,
  fields: Readonly<Record<string, unknown>> = {}
): string => {
  return JSON.stringify({ jsonrpc: "2.0", id, error: errorObject(type, message, traceId, fields) })
}

export const encodeNotification = (method: string, params: unknown): string =>
  `{"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":${encodeValue(params)}}`
