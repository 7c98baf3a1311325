// What a method is made of: Methods.ts and its parts are written with this.
import { Schema } from "effect"
import type { ErrorType } from "../ErrorCodes.ts"

export interface MethodDefinition {
  readonly summary: string
  readonly params: Schema.Struct<Schema.Struct.Fields>
  readonly result: Schema.Constraint
  readonly errors: ReadonlyArray<ErrorType>
}

export const method = <P extends Schema.Struct.Fields, R extends Schema.Constraint>(
  summary: string,
  params: P,
  result: R,
  errors: ReadonlyArray<ErrorType> = []
) => ({ summary, params: Schema.Struct(params), result, errors }) as const

/** What may come of any read, and of any write, in a room. */
export const roomReads: ReadonlyArray<ErrorType> = ["RoomNotFound", "NotAMember", "StorageUnavailable", "StoresDiffer"]
export const roomWrites: ReadonlyArray<ErrorType> = [...roomReads, "Forbidden"]

export const Nothing = Schema.Struct({}).annotate({ identifier: "Empty" })
export const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
/** Any JSON. It came out of a JSON parser, so it isn't walked a second time. */
export const AnyJson = Schema.Unknown

/** A time and an id, as `next` of a list is. */
const isListCursor = Schema.makeFilter((text: string) => {
  const at = text.slice(0, 24)
  const ms = Date.parse(at)
  return text[24] === " " && text.length > 25 && Number.isFinite(ms) && new Date(ms).toISOString() === at
    ? true
    : "must be the `next` of a list, as it was given"
})

/** Params of a list that is answered in parts, and what the answer has beside the list. */
export const listParams = {
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
  cursor: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(300), isListCursor))
}
export const listRest = {
  /** Whether there are others. */
  more: Schema.Boolean,
  /** The `cursor` of the next part; null: there is none. */
  next: Schema.NullOr(Schema.String)
}
