// Every error that a client can get: its code, whether the same request may be tried again, and what it means. The
// README's table and the OpenRPC document are generated from here. JSON-RPC's own codes come first, then hotpath's,
// −32000 to −32099.

import { Schema } from "effect"

interface ErrorCode {
  readonly code: number
  readonly retryable: boolean
  readonly meaning: string
  /** The fields of `data` beside `type`, `retryable` and `traceId`. */
  readonly fields?: Schema.Struct.Fields
}

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const retryAfter = { retryAfterMs: Count }
/** The room, thread or message that the request named. */
const subject = {
  roomId: Schema.optionalKey(Schema.String),
  threadId: Schema.optionalKey(Schema.String),
  messageId: Schema.optionalKey(Schema.String)
}
const upTo = { most: Count }
const issues = {
  issues: Schema.Array(
    Schema.Struct({
      path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
      message: Schema.String
    }).annotate({ identifier: "ParamsIssue" })
  )
}

export const ErrorCodes = {
  ParseError: { code: -32700, retryable: false, meaning: "the frame is not JSON" },
  InvalidRequest: { code: -32600, retryable: false, meaning: "not a JSON-RPC 2.0 request, or nested too deep" },
  MethodNotFound: {
    code: -32601,
    retryable: false,
    meaning: "there is no such method",
    fields: { method: Schema.String, nearest: Schema.optionalKey(Schema.String) }
  },
  InvalidParams: {
    code: -32602,
    retryable: false,
    meaning: "the params are not what the method takes (an object, by name); `issues` lists all faults",
    fields: issues
  },
  InternalError: {
    code: -32603,
    retryable: true,
    meaning: "a fault of the service; its log has the cause under the `traceId`"
  },
  Overloaded: { code: -32000, retryable: true, meaning: "a queue is full; nothing was done", fields: retryAfter },
  RateLimited: {
    code: -32001,
    retryable: true,
    meaning:
      "the connection or the user exceeds a rate or quota: `limit` names it, `retryAfterMs` says how long to wait",
    fields: { limit: Schema.String, ...retryAfter }
  },
  Draining: { code: -32002, retryable: true, meaning: "the instance is shutting down: reconnect" },
  ReplyTooLarge: {
    code: -32009,
    retryable: false,
    meaning:
      "the request was done, but its reply (`bytes`) exceeds what may be queued for the connection (`most`): ask for less",
    fields: { bytes: Count, most: Count }
  },
  ConfigUnavailable: { code: -32010, retryable: true, meaning: "the configuration could not be read from any store" },
  IntegrationNotFound: {
    code: -32011,
    retryable: false,
    meaning: "there is no integration of that name",
    fields: { integration: Schema.String }
  },
  IntegrationTimeout: {
    code: -32012,
    retryable: true,
    meaning: "no complete answer within the integration's `timeoutMs`"
  },
  IntegrationUnreachable: {
    code: -32013,
    retryable: true,
    meaning: "the connection to the integration failed or broke"
  },
  IntegrationRejected: {
    code: -32014,
    retryable: false,
    meaning: "the integration answered with an error `status`",
    fields: { status: Count }
  },
  IntegrationInvalidResponse: {
    code: -32015,
    retryable: true,
    meaning: "the integration's answer is too big, is not JSON, or lacks a field"
  },
  IntegrationOpen: {
    code: -32016,
    retryable: true,
    meaning: "the integration's circuit breaker is open; `retryAfterMs` says how long to wait",
    fields: retryAfter
  },
  RecordUnavailable: { code: -32017, retryable: true, meaning: "the record could not be stored as `ack` requires" },
  RoomNotFound: {
    code: -32020,
    retryable: false,
    meaning: "there is no such room, or it was deleted",
    fields: subject
  },
  NotAMember: {
    code: -32021,
    retryable: false,
    meaning: "the caller is not a member of the room: an invite is needed",
    fields: subject
  },
  Forbidden: {
    code: -32022,
    retryable: false,
    meaning: "the caller's role does not allow it; `needs` says what would",
    fields: { needs: Schema.String }
  },
  InviteInvalid: {
    code: -32023,
    retryable: false,
    meaning: "there is no such invite, or it was revoked, has expired or is used up"
  },
  TooManyRooms: {
    code: -32024,
    retryable: false,
    meaning: "the connection is subscribed to the maximum number of rooms, `most`",
    fields: upTo
  },
  ThreadNotFound: {
    code: -32025,
    retryable: false,
    meaning: "there is no such thread in the room, or in any of the caller's rooms",
    fields: subject
  },
  MessageNotFound: {
    code: -32026,
    retryable: false,
    meaning: "there is no such message in the caller's rooms, or the caller may not change it",
    fields: subject
  },
  TooManyReactions: {
    code: -32027,
    retryable: false,
    meaning: "the message has the maximum number of reactions, `most`",
    fields: upTo
  },
  TooManyContacts: {
    code: -32028,
    retryable: false,
    meaning: "the caller has the maximum number of contacts, `most`",
    fields: upTo
  },
  StorageUnavailable: {
    code: -32029,
    retryable: true,
    meaning:
      "PostgreSQL is unavailable or too slow; a write may have been stored: repeat it, a message with the same `key`",
    fields: retryAfter
  },
  VersionConflict: {
    code: -32030,
    retryable: false,
    meaning:
      "the document was changed, or another was opened, since `baseVersion`: `name`, `version` and `text` are the current ones",
    fields: { name: Schema.String, version: Count, text: Schema.String }
  },
  BufferFull: {
    code: -32031,
    retryable: true,
    meaning: "PostgreSQL is unavailable, and the buffer of unsaved writes is full; nothing was stored",
    fields: retryAfter
  },
  TooManyInvites: {
    code: -32035,
    retryable: false,
    meaning: "the caller has the maximum number of invites in the room, `most`: revoke some",
    fields: upTo
  },
  StoresDiffer: {
    code: -32036,
    retryable: true,
    meaning:
      "this instance is set up with another Redis or PostgreSQL than the others and serves no rooms: reconnect to another one; nothing was stored",
    fields: retryAfter
  },
  GenerationBusy: {
    code: -32040,
    retryable: true,
    meaning: "the prompt `messageId` is already being answered; `retryAfterMs` says how long to wait",
    fields: { messageId: Schema.String, ...retryAfter }
  },
  GenerationCancelled: {
    code: -32041,
    retryable: false,
    meaning: "the generation was cancelled; the prompt `messageId` stays unanswered",
    fields: { messageId: Schema.String }
  }
} as const satisfies Record<string, ErrorCode>

export type ErrorType = keyof typeof ErrorCodes

export const errorFields = (type: ErrorType): Schema.Struct.Fields => {
  const error: ErrorCode = ErrorCodes[type]
  return error.fields ?? {}
}

/** An error of JSON-RPC's own, as a value. */
export interface ProtocolError {
  readonly _tag: "ParseError" | "InvalidRequest" | "MethodNotFound" | "InvalidParams" | "InternalError"
  readonly message: string
  /** The fields of `data` beside `type`. */
  readonly fields?: Readonly<Record<string, unknown>>
}
