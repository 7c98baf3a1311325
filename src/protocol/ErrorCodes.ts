// Every error a client can get: its code, whether the same request may be tried again, and its text. README's table is
// generated from here. JSON-RPC's own codes first, then hotpath's from −32000 down to −32099.

interface ErrorCode {
  readonly code: number
  readonly retryable: boolean
  readonly meaning: string
}

export const ErrorCodes = {
  ParseError: { code: -32700, retryable: false, meaning: "the frame is not JSON" },
  InvalidRequest: { code: -32600, retryable: false, meaning: "not a JSON-RPC 2.0 request, or nested too deep" },
  MethodNotFound: { code: -32601, retryable: false, meaning: "no such method" },
  InvalidParams: { code: -32602, retryable: false, meaning: "params are not what the method takes, by name" },
  InternalError: { code: -32603, retryable: true, meaning: "a fault of hotpath's; the log has it under the traceId" },
  Overloaded: { code: -32000, retryable: true, meaning: "a queue is full; nothing was begun" },
  RateLimited: {
    code: -32001,
    retryable: true,
    meaning: "more requests than the connection may send, or too many wrong invites; `retryAfterMs`"
  },
  Draining: { code: -32002, retryable: true, meaning: "the instance is shutting down: reconnect" },
  ReplyTooLarge: {
    code: -32009,
    retryable: false,
    meaning: "done, but the reply of `bytes` is larger than may wait (`most`): ask for less"
  },
  ConfigUnavailable: { code: -32010, retryable: true, meaning: "no store could say what the configuration is" },
  IntegrationNotFound: { code: -32011, retryable: false, meaning: "no integration of that name" },
  IntegrationTimeout: {
    code: -32012,
    retryable: true,
    meaning: "no whole answer within the integration's `timeoutMs`"
  },
  IntegrationUnreachable: { code: -32013, retryable: true, meaning: "no connection to the integration, or it broke" },
  IntegrationRejected: { code: -32014, retryable: false, meaning: "the integration answered with an error `status`" },
  IntegrationInvalidResponse: {
    code: -32015,
    retryable: true,
    meaning: "the answer is too big, no JSON, or lacks a field"
  },
  IntegrationOpen: { code: -32016, retryable: true, meaning: "the integration's breaker is open; `retryAfterMs`" },
  RecordUnavailable: { code: -32017, retryable: true, meaning: "the record could not be stored as `ack` asked" },
  RoomNotFound: { code: -32020, retryable: false, meaning: "no such room, or it was deleted" },
  NotAMember: { code: -32021, retryable: false, meaning: "the room has no such member: an invite is needed" },
  Forbidden: { code: -32022, retryable: false, meaning: "the caller's role does not allow it; `needs`" },
  InviteInvalid: {
    code: -32023,
    retryable: false,
    meaning: "no such invite, or it was revoked, has expired or is used up"
  },
  TooManyRooms: { code: -32024, retryable: false, meaning: "the connection is in as many rooms as it may be; `most`" },
  ThreadNotFound: { code: -32025, retryable: false, meaning: "no such thread in that room" },
  MessageNotFound: {
    code: -32026,
    retryable: false,
    meaning: "no such message in a room of the caller's, or not one that they may change"
  },
  TooManyReactions: { code: -32027, retryable: false, meaning: "the message holds no more reactions; `most`" },
  TooManyContacts: { code: -32028, retryable: false, meaning: "the caller keeps no more contacts; `most`" },
  StorageUnavailable: {
    code: -32029,
    retryable: true,
    meaning: "PostgreSQL is away or too slow; a write may have been kept: repeat it, messages with the same `key`"
  },
  VersionConflict: {
    code: -32030,
    retryable: false,
    meaning:
      "somebody else was faster, or opened another: the open document's `name`, `version` and `text` as they are now"
  },
  BufferFull: {
    code: -32031,
    retryable: true,
    meaning: "PostgreSQL is away, and as much waits for it as may; nothing was kept"
  },
  GenerationBusy: {
    code: -32040,
    retryable: true,
    meaning: "the prompt `messageId` is being answered already; `retryAfterMs`"
  },
  GenerationCancelled: {
    code: -32041,
    retryable: false,
    meaning: "the generation was cancelled; the prompt `messageId` stays, unanswered"
  }
} as const satisfies Record<string, ErrorCode>

export type ErrorType = keyof typeof ErrorCodes

/** JSON-RPC's own errors, as values. */
export interface ProtocolError {
  readonly _tag: "ParseError" | "InvalidRequest" | "MethodNotFound" | "InvalidParams" | "InternalError"
  readonly message: string
}
