// Every error that a client can get: its code, whether the same request may be tried again, and what it means. The
// README's table and the OpenRPC document are generated from here. JSON-RPC's own codes come first, then hotpath's,
// −32000 to −32099.

import { Schema } from "effect"

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

/** `fields`: those of `data` beside `type`, `retryable` and `traceId`. */
const error =
  (retryable: boolean) =>
  (code: number, meaning: string, fields: Schema.Struct.Fields = {}) => ({
    code,
    retryable,
    meaning,
    fields
  })
const [retry, final] = [error(true), error(false)]

export const ErrorCodes = {
  ParseError: final(-32700, "the frame is not JSON"),
  InvalidRequest: final(-32600, "not a JSON-RPC 2.0 request, or nested too deep"),
  MethodNotFound: final(-32601, "there is no such method", {
    method: Schema.String,
    nearest: Schema.optionalKey(Schema.String)
  }),
  InvalidParams: final(
    -32602,
    "the params are not what the method takes (an object, by name); `issues` lists all faults",
    issues
  ),
  InternalError: retry(-32603, "a fault of the service; its log has the cause under the `traceId`"),
  Overloaded: retry(-32000, "a queue is full; nothing was done", retryAfter),
  RateLimited: retry(
    -32001,
    "the connection or the user exceeds a rate or quota: `limit` names it, `retryAfterMs` says how long to wait",
    { limit: Schema.String, ...retryAfter }
  ),
  Draining: retry(-32002, "the instance is shutting down: reconnect"),
  ReplyTooLarge: final(
    -32009,
    "the request was done, but its reply (`bytes`) exceeds what may be queued for the connection (`most`): ask for less",
    { bytes: Count, most: Count }
  ),
  ConfigUnavailable: retry(-32010, "the configuration could not be read from any store"),
  IntegrationNotFound: final(-32011, "there is no integration of that name", { integration: Schema.String }),
  IntegrationTimeout: retry(-32012, "no complete answer within the integration's `timeoutMs`"),
  IntegrationUnreachable: retry(-32013, "the connection to the integration failed or broke"),
  IntegrationRejected: final(-32014, "the integration answered with an error `status`", { status: Count }),
  IntegrationInvalidResponse: retry(-32015, "the integration's answer is too big, is not JSON, or lacks a field"),
  IntegrationOpen: retry(
    -32016,
    "the integration's circuit breaker is open; `retryAfterMs` says how long to wait",
    retryAfter
  ),
  RecordUnavailable: retry(-32017, "the record could not be stored as `ack` requires"),
  RoomNotFound: final(-32020, "there is no such room, or it was deleted", subject),
  NotAMember: final(-32021, "the caller is not a member of the room: an invite is needed", subject),
  Forbidden: final(-32022, "the caller's role does not allow it; `needs` says what would", { needs: Schema.String }),
  InviteInvalid: final(-32023, "there is no such invite, or it was revoked, has expired or is used up"),
  TooManyRooms: final(-32024, "the connection is subscribed to the maximum number of rooms, `most`", upTo),
  ThreadNotFound: final(-32025, "there is no such thread in the room, or in any of the caller's rooms", subject),
  MessageNotFound: final(
    -32026,
    "there is no such message in the caller's rooms, or the caller may not change it",
    subject
  ),
  TooManyReactions: final(-32027, "the message has the maximum number of reactions, `most`", upTo),
  TooManyContacts: final(-32028, "the caller has the maximum number of contacts, `most`", upTo),
  StorageUnavailable: retry(
    -32029,
    "PostgreSQL is unavailable or too slow; a write may have been stored: repeat it, a message with the same `key`",
    retryAfter
  ),
  VersionConflict: final(
    -32030,
    "the document was changed, or another was opened, since `baseVersion`: `name`, `version` and `text` are the current ones",
    { name: Schema.String, version: Count, text: Schema.String }
  ),
  BufferFull: retry(
    -32031,
    "PostgreSQL is unavailable, and the buffer of unsaved writes is full; nothing was stored",
    retryAfter
  ),
  TooManyInvites: final(-32035, "the caller has the maximum number of invites in the room, `most`: revoke some", upTo),
  StoresDiffer: retry(
    -32036,
    "this instance is set up with another Redis or PostgreSQL than the others and serves no rooms: reconnect to another one; nothing was stored",
    retryAfter
  ),
  GenerationBusy: retry(
    -32040,
    "the prompt `messageId` is already being answered; `retryAfterMs` says how long to wait",
    { messageId: Schema.String, ...retryAfter }
  ),
  GenerationCancelled: final(-32041, "the generation was cancelled; the prompt `messageId` stays unanswered", {
    messageId: Schema.String
  })
}

export type ErrorType = keyof typeof ErrorCodes

/** An error of JSON-RPC's own, as a value. */
export interface ProtocolError {
  readonly _tag: "ParseError" | "InvalidRequest" | "MethodNotFound" | "InvalidParams" | "InternalError"
  readonly message: string
  /** The fields of `data` beside `type`. */
  readonly fields?: Readonly<Record<string, unknown>>
}
