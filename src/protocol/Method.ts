// What a method is made of: Methods.ts and its parts are written with this.
import { Schema } from "effect"
import type { ErrorType } from "./ErrorCodes.ts"

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
export const roomReads: ReadonlyArray<ErrorType> = ["RoomNotFound", "NotAMember", "StorageUnavailable"]
export const roomWrites: ReadonlyArray<ErrorType> = [...roomReads, "Forbidden"]

export const Nothing = Schema.Struct({}).annotate({ identifier: "Empty" })
export const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
/** Any JSON. It came out of a JSON parser, so it isn't walked a second time. */
export const AnyJson = Schema.Unknown
