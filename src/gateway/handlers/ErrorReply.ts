// What a client reads of an error: its text and the fields that are its own. Nothing else of it leaves the process.
import type { CoachError } from "../../assistant/Coaching.ts"
import type { GenerateError } from "../../assistant/Generation.ts"
import type { CallError } from "../../calls/Call.ts"
import type { TooManyContacts } from "../../domain/Contact.ts"
import type { VersionConflict } from "../../domain/Document.ts"
import type { TooManyInvites } from "../../domain/Invite.ts"
import type { MessageNotFound, ThreadNotFound, TooManyReactions } from "../../domain/Message.ts"
import { type Draining, describeLimit, type RateLimited, type ReplyTooLarge } from "../../domain/Overload.ts"
import type {
  BufferFull,
  Forbidden,
  InviteInvalid,
  NotAMember,
  RoomNotFound,
  StorageUnavailable,
  TooManyRooms
} from "../../domain/Room.ts"
import type { StoresDiffer } from "../../domain/StoresDiffer.ts"
import type { ErrorType, ProtocolError } from "../../protocol/ErrorCodes.ts"

type RoomError =
  | RoomNotFound
  | NotAMember
  | Forbidden
  | InviteInvalid
  | TooManyRooms
  | ThreadNotFound
  | MessageNotFound
  | TooManyReactions
  | TooManyContacts
  | TooManyInvites
  | StorageUnavailable
  | VersionConflict
  | BufferFull
  | StoresDiffer

export type ClientError =
  | CallError
  | GenerateError
  | CoachError
  | RateLimited
  | ReplyTooLarge
  | Draining
  | RoomError
  | ProtocolError

interface ErrorReply {
  readonly type: ErrorType
  readonly message: string
  readonly fields?: Readonly<Record<string, unknown>>
}

/** What a request is about, by the params that name it: so that an error says which room, thread or message it means. */
const subjectOf = (params: unknown): Readonly<Record<string, string>> => {
  if (typeof params !== "object" || params === null) return {}
  const subject: Record<string, string> = {}
  for (const name of ["roomId", "threadId", "messageId"] as const) {
    const value = (params as { readonly [name: string]: unknown })[name]
    if (typeof value === "string") subject[name] = value
  }
  return subject
}

const named = (what: string, id: string | undefined): string => (id === undefined ? what : `${what} ${id}`)

/** `params`: those of the request that failed. */
export const errorReply = (error: ClientError, params?: unknown): ErrorReply => {
  const type = error._tag
  switch (type) {
    case "InvalidInput":
      return {
        type: "InvalidParams",
        message: error.reason,
        fields: { issues: [{ path: error.path ?? ["input"], message: error.reason }] }
      }
    case "IntegrationNotFound":
      return { type, message: `No integration named ${error.integration}`, fields: { integration: error.integration } }
    case "ConfigUnavailable":
      return { type, message: "Configuration unavailable" }
    case "IntegrationTimeout":
      return { type, message: "Request timeout - API too slow" }
    case "IntegrationUnreachable":
      return { type, message: `API error: ${error.reason}` }
    case "IntegrationRejected":
      return { type, message: error.text ?? `API status: ${error.status}`, fields: { status: error.status } }
    case "IntegrationInvalidResponse":
      return { type, message: "Invalid API response" }
    case "IntegrationOpen":
      return { type, message: "API left alone: it failed too often", fields: { retryAfterMs: error.retryAfterMs } }
    case "Overloaded":
      return { type, message: `Overloaded: too many ${error.what} waiting`, fields: { retryAfterMs: 1000 } }
    case "RateLimited":
      return {
        type,
        message: describeLimit(error.limit),
        fields: { limit: error.limit, retryAfterMs: error.retryAfterMs }
      }
    case "Draining":
      return { type, message: "Shutting down: reconnect" }
    case "ReplyTooLarge": {
      const { bytes, isOfBatch, most } = error
      const message =
        isOfBatch === true
          ? `The reply of ${bytes} bytes does not fit beside the others of its batch: ask for it by itself`
          : `The reply of ${bytes} bytes is too large: ask for less`
      return { type, message, fields: { bytes, most } }
    }
    case "RecordUnavailable":
      return { type, message: "The record could not be stored in time" }
    case "RoomNotFound": {
      const fields = subjectOf(params)
      return { type, message: named("No room", fields["roomId"]), fields }
    }
    case "NotAMember": {
      const fields = subjectOf(params)
      return { type, message: `${named("Not a member of room", fields["roomId"])}: an invite is needed`, fields }
    }
    case "Forbidden":
      return { type, message: `Not allowed: needs ${error.needs}`, fields: { needs: error.needs } }
    case "InviteInvalid":
      return { type, message: "The invite is not good (any more)" }
    case "TooManyRooms":
      return { type, message: `A connection may be in ${error.most} rooms`, fields: { most: error.most } }
    case "ThreadNotFound": {
      const fields = subjectOf(params)
      return { type, message: `${named("No thread", fields["threadId"])} in the room`, fields }
    }
    case "MessageNotFound": {
      const fields = subjectOf(params)
      return { type, message: `${named("No message", fields["messageId"])} that the caller may read or change`, fields }
    }
    case "TooManyReactions":
      return { type, message: `A message holds ${error.most} reactions`, fields: { most: error.most } }
    case "TooManyContacts":
      return { type, message: `A user keeps ${error.most} contacts`, fields: { most: error.most } }
    case "TooManyInvites":
      return { type, message: `A member keeps ${error.most} invites in a room`, fields: { most: error.most } }
    case "VersionConflict": {
      const { name, text, version } = error
      return { type, message: "The document has changed", fields: { name, version, text } }
    }
    case "BufferFull":
      return { type, message: "Too much waits to be saved", fields: { retryAfterMs: 1000 } }
    case "StoresDiffer":
      return {
        type,
        message: "This instance does not share its stores with the others: reconnect to another",
        fields: { retryAfterMs: 5000 }
      }
    case "GenerationBusy":
      return {
        type,
        message: "The prompt is being answered already",
        fields: { messageId: error.messageId, retryAfterMs: 1000 }
      }
    case "GenerationCancelled":
      return { type, message: "The generation was cancelled", fields: { messageId: error.messageId } }
    case "StorageUnavailable":
      return { type, message: "Storage unavailable", fields: { retryAfterMs: 1000 } }
    default:
      return { type, message: error.message, ...(error.fields !== undefined && { fields: error.fields }) }
  }
}
