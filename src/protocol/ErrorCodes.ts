// Every error a client can get: its code, whether the same request may be tried again, and its text. README's table is
// generated from here. JSON-RPC's own codes first, then hotpath's from −32000 down to −32099.

import { Schema } from "effect"

interface ErrorCode {
  readonly code: number
  readonly retryable: boolean
  readonly meaning: string
  /** What stands in `data` beside `type`, `retryable` and `traceId`. */
  readonly fields?: Schema.Struct.Fields
}

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const retryAfter = { retryAfterMs: Count }
/** Which room, thread or message the request was about, as it named it. */
const subject = {
  roomId: Schema.optionalKey(Schema.String),
  threadId: Schema.optionalKey(Schema.String),
  messageId: Schema.optionalKey(Schema.String)
}
const most = { most: Count }
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
    meaning: "no such method",
    fields: { method: Schema.String, nearest: Schema.optionalKey(Schema.String) }
  },
  InvalidParams: {
    code: -32602,
    retryable: false,
    meaning: "params are not what the method takes, by name",
    fields: issues
  },
  InternalError: { code: -32603, retryable: true, meaning: "a fault of hotpath's; the log has it under the traceId" },
  Overloaded: { code: -32000, retryable: true, meaning: "a queue is full; nothing was begun", fields: retryAfter },
  RateLimited: {
    code: -32001,
    retryable: true,
    meaning:
      "more than a connection or a user may ask for; `limit` says which limit it was, `retryAfterMs` how long to wait",
    fields: { limit: Schema.String, ...retryAfter }
  },
  Draining: { code: -32002, retryable: true, meaning: "the instance is shutting down: reconnect" },
  ReplyTooLarge: {
    code: -32009,
    retryable: false,
    meaning: "done, but the reply of `bytes` is larger than may wait (`most`): ask for less",
    fields: { bytes: Count, most: Count }
  },
  ConfigUnavailable: { code: -32010, retryable: true, meaning: "no store could say what the configuration is" },
  IntegrationNotFound: {
    code: -32011,
    retryable: false,
    meaning: "no integration of that name",
    fields: { integration: Schema.String }
  },
  IntegrationTimeout: {
    code: -32012,
    retryable: true,
    meaning: "no whole answer within the integration's `timeoutMs`"
  },
  IntegrationUnreachable: { code: -32013, retryable: true, meaning: "no connection to the integration, or it broke" },
  IntegrationRejected: {
    code: -32014,
    retryable: false,
    meaning: "the integration answered with an error `status`",
    fields: { status: Count }
  },
  IntegrationInvalidResponse: {
    code: -32015,
    retryable: true,
    meaning: "the answer is too big, no JSON, or lacks a field"
  },
  IntegrationOpen: {
    code: -32016,
    retryable: true,
    meaning: "the integration's breaker is open; `retryAfterMs`",
    fields: retryAfter
  },
  RecordUnavailable: { code: -32017, retryable: true, meaning: "the record could not be stored as `ack` asked" },
  RoomNotFound: { code: -32020, retryable: false, meaning: "no such room, or it was deleted", fields: subject },
  NotAMember: {
    code: -32021,
    retryable: false,
    meaning: "the room has no such member: an invite is needed",
    fields: subject
  },
  Forbidden: {
    code: -32022,
    retryable: false,
    meaning: "the caller's role does not allow it; `needs`",
    fields: { needs: Schema.String }
  },
  InviteInvalid: {
    code: -32023,
    retryable: false,
    meaning: "no such invite, or it was revoked, has expired or is used up"
  },
  TooManyRooms: {
    code: -32024,
    retryable: false,
    meaning: "the connection is in as many rooms as it may be; `most`",
    fields: most
  },
  ThreadNotFound: {
    code: -32025,
    retryable: false,
    meaning: "no such thread in that room, or in a room of the caller's",
    fields: subject
  },
  MessageNotFound: {
    code: -32026,
    retryable: false,
    meaning: "no such message in a room of the caller's, or not one that they may change",
    fields: subject
  },
  TooManyReactions: {
    code: -32027,
    retryable: false,
    meaning: "the message holds no more reactions; `most`",
    fields: most
  },
  TooManyContacts: {
    code: -32028,
    retryable: false,
    meaning: "the caller keeps no more contacts; `most`",
    fields: most
  },
  StorageUnavailable: {
    code: -32029,
    retryable: true,
    meaning: "PostgreSQL is away or too slow; a write may have been kept: repeat it, messages with the same `key`",
    fields: retryAfter
  },
  VersionConflict: {
    code: -32030,
    retryable: false,
    meaning:
      "somebody else was faster, or opened another: the open document's `name`, `version` and `text` as they are now",
    fields: { name: Schema.String, version: Count, text: Schema.String }
  },
  BufferFull: {
    code: -32031,
    retryable: true,
    meaning: "PostgreSQL is away, and as much waits for it as may; nothing was kept",
    fields: retryAfter
  },
  TooManyInvites: {
    code: -32035,
    retryable: false,
    meaning: "the caller keeps no more invites in the room: revoke some; `most`",
    fields: most
  },
  StoresDiffer: {
    code: -32036,
    retryable: true,
    meaning:
      "this instance is set up with another Redis or PostgreSQL than the others, and leaves rooms alone: reconnect to another; nothing was kept",
    fields: retryAfter
  },
  GenerationBusy: {
    code: -32040,
    retryable: true,
    meaning: "the prompt `messageId` is being answered already; `retryAfterMs`",
    fields: { messageId: Schema.String, ...retryAfter }
  },
  GenerationCancelled: {
    code: -32041,
    retryable: false,
    meaning: "the generation was cancelled; the prompt `messageId` stays, unanswered",
    fields: { messageId: Schema.String }
  }
} as const satisfies Record<string, ErrorCode>

export type ErrorType = keyof typeof ErrorCodes

export const errorFields = (type: ErrorType): Schema.Struct.Fields => {
  const error: ErrorCode = ErrorCodes[type]
  return error.fields ?? {}
}

/** JSON-RPC's own errors, as values. */
export interface ProtocolError {
  readonly _tag: "ParseError" | "InvalidRequest" | "MethodNotFound" | "InvalidParams" | "InternalError"
  readonly message: string
  /** What stands beside `type` in the error's `data`. */
  readonly fields?: Readonly<Record<string, unknown>>
}
