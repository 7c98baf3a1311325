// What a method is made of: Methods.ts and its parts are written with these.
import { Schema } from "effect"
import { Forbidden, NotAMember, RoomNotFound, StorageUnavailable, StoresDiffer } from "../../domain/Room.ts"
import type { ErrorType } from "../ErrorCodes.ts"

/** The class of an error that a client can get: its tag is a type of ErrorCodes.ts. */
interface ErrorClass {
  new (...args: never): { readonly _tag: ErrorType }
  readonly identifier: string
}

/**
 * How a method's requests are ordered. A `write` is done after all writes that the same connection asked for before. A
 * `read` and an `action` (a call, a cancel, a subscription) wait for no other request. A `mixed` method writes in that
 * order, and does the rest (a generation) outside of it.
 */
type MethodKind = "read" | "write" | "action" | "mixed"

export interface MethodDefinition {
  readonly kind: MethodKind
  readonly summary: string
  readonly params: Schema.Struct<Schema.Struct.Fields>
  readonly result: Schema.Constraint
  /** What its handler may fail with, beside the errors of every method. */
  readonly errors: ReadonlyArray<ErrorClass>
}

const define =
  (kind: MethodKind) =>
  <P extends Schema.Struct.Fields, R extends Schema.Constraint, const E extends ReadonlyArray<ErrorClass>>(
    summary: string,
    params: P,
    result: R,
    errors: E
  ) =>
    ({ kind, summary, params: Schema.Struct(params), result, errors }) as const

export const [read, write, action, mixed] = [define("read"), define("write"), define("action"), define("mixed")]

/** What any read, and any write, in a room may fail with. */
export const roomReads = [RoomNotFound, NotAMember, StorageUnavailable, StoresDiffer] as const
export const roomWrites = [...roomReads, Forbidden] as const

export const Nothing = Schema.Struct({}).annotate({ identifier: "Empty" })
export const intBetween = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
export const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
/** Any JSON. It comes from a JSON parser, so it is not checked again. */
export const AnyJson = Schema.Unknown

/** A time and an id: the form of `next`. */
const isListCursor = Schema.makeFilter((text: string) => {
  const at = text.slice(0, 24)
  const ms = Date.parse(at)
  return text[24] === " " && text.length > 25 && Number.isFinite(ms) && new Date(ms).toISOString() === at
    ? true
    : "must be the `next` of a list, as it was given"
})

/** Params of a list that is answered in parts, and what the answer has besides the list. */
export const listParams = {
  limit: Schema.optionalKey(intBetween(1, 1000)),
  cursor: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(300), isListCursor))
}
export const listRest = {
  /** Whether the list goes on. */
  more: Schema.Boolean,
  /** The `cursor` of the next part; null after the last one. */
  next: Schema.NullOr(Schema.String)
}
