// What a client reads of an error: its text, and those of its fields that ErrorCodes.ts names. Nothing else of it
// leaves the process.
import { describeLimit } from "../../domain/Overload.ts"
import { ErrorCodes, type ErrorType, type ProtocolError } from "../../protocol/ErrorCodes.ts"
import type { ClientError } from "../../protocol/methods/Methods.ts"

interface ErrorReply {
  readonly type: ErrorType
  readonly message: string
  readonly fields?: Readonly<Record<string, unknown>>
}

/** What a request is about, by the params that name it: an error says which room, thread or message it means. */
type Subject = { readonly [name in "roomId" | "threadId" | "messageId"]?: string }

const subjectOf = (params: unknown): Subject => {
  if (typeof params !== "object" || params === null) return {}
  const subject: Record<string, string> = {}
  for (const name of ["roomId", "threadId", "messageId"] as const) {
    const value = (params as { readonly [name: string]: unknown })[name]
    if (typeof value === "string") subject[name] = value
  }
  return subject
}

const named = (what: string, id: string | undefined): string => (id === undefined ? what : `${what} ${id}`)

/** How long to wait where an error does not say it itself. */
const waits: Partial<Record<ErrorType, number>> = {
  Overloaded: 1000,
  StorageUnavailable: 1000,
  BufferFull: 1000,
  GenerationBusy: 1000,
  StoresDiffer: 5000
}

type DomainError = Exclude<ClientError, ProtocolError>

/** The text of each error. */
const messages: {
  readonly [Tag in DomainError["_tag"]]: (
    error: Extract<DomainError, { readonly _tag: Tag }>,
    subject: Subject
  ) => string
} = {
  InvalidInput: ({ reason }) => reason,
  IntegrationNotFound: ({ integration }) => `No integration named ${integration}`,
  ConfigUnavailable: () => "Configuration unavailable",
  IntegrationTimeout: () => "Request timeout - API too slow",
  IntegrationUnreachable: ({ reason }) => `API error: ${reason}`,
  IntegrationRejected: ({ status, text }) => text ?? `API status: ${status}`,
  IntegrationInvalidResponse: () => "Invalid API response",
  IntegrationOpen: () => "API unavailable: it failed too often and is not called for a while",
  Overloaded: ({ what }) => `Overloaded: too many ${what} waiting`,
  RateLimited: ({ limit }) => describeLimit(limit),
  Draining: () => "Shutting down: reconnect",
  ReplyTooLarge: ({ bytes, isOfBatch }) =>
    isOfBatch === true
      ? `The reply of ${bytes} bytes does not fit beside the others of its batch: ask for it by itself`
      : `The reply of ${bytes} bytes is too large: ask for less`,
  RecordUnavailable: () => "The record could not be stored in time",
  RoomNotFound: (_error, { roomId }) => named("No room", roomId),
  NotAMember: (_error, { roomId }) => `${named("Not a member of room", roomId)}: an invite is needed`,
  Forbidden: ({ needs }) => `Not allowed: needs ${needs}`,
  InviteInvalid: () => "The invite is not valid",
  TooManyRooms: ({ most }) => `A connection may be in at most ${most} rooms`,
  ThreadNotFound: (_error, { threadId }) => `${named("No thread", threadId)} in the room`,
  MessageNotFound: (_error, { messageId }) => `${named("No message", messageId)} that the caller may read or change`,
  TooManyReactions: ({ most }) => `A message can have at most ${most} reactions`,
  TooManyContacts: ({ most }) => `A user can have at most ${most} contacts`,
  TooManyInvites: ({ most }) => `A member can have at most ${most} invites in a room`,
  VersionConflict: () => "The document has changed",
  BufferFull: () => "Too many writes wait to be saved; try again",
  StoresDiffer: () => "This instance does not share its stores with the others: reconnect to another",
  GenerationBusy: () => "The prompt is already being answered",
  GenerationCancelled: () => "The generation was cancelled",
  StorageUnavailable: () => "Storage unavailable"
}

const isProtocolError = (error: ClientError): error is ProtocolError => !Object.hasOwn(messages, error._tag)

/** `params`: those of the request that failed. */
export const errorReply = (error: ClientError, params?: unknown): ErrorReply => {
  if (isProtocolError(error)) {
    const { _tag: type, fields, message } = error
    return { type, message, ...(fields !== undefined && { fields }) }
  }
  const subject = subjectOf(params)
  const message = (messages[error._tag] as (error: DomainError, subject: Subject) => string)(error, subject)
  if (error._tag === "InvalidInput") {
    return { type: "InvalidParams", message, fields: { issues: [{ path: error.path ?? ["input"], message }] } }
  }
  const type = error._tag
  const values: Readonly<Record<string, unknown>> = { ...error }
  const fields: Record<string, unknown> = {}
  for (const name of Object.keys(ErrorCodes[type].fields)) {
    const value = values[name] ?? subject[name as keyof Subject] ?? (name === "retryAfterMs" ? waits[type] : undefined)
    if (value !== undefined) fields[name] = value
  }
  return { type, message, fields }
}
