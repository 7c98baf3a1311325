// The repository in parts: each is written twice, in SQL and in memory, and put together in RepositoryPostgres.ts and
// RepositoryMemory.ts.
import type { Repository } from "./Repository.ts"

export type RoomsPart = Pick<
  Repository["Service"],
  | "createRoom"
  | "room"
  | "roomsOf"
  | "deleteRoom"
  | "advanceEpoch"
  | "member"
  | "participants"
  | "join"
  | "removeMember"
>

export type InvitesPart = Pick<
  Repository["Service"],
  "createInvite" | "invites" | "invitedAs" | "isInvite" | "revokeInvite"
>

export type ThreadsPart = Pick<Repository["Service"], "createThread" | "threads" | "changeThread" | "roomOfThread">

export type MessagesPart = Pick<
  Repository["Service"],
  | "sendMessage"
  | "editMessage"
  | "deleteMessage"
  | "react"
  | "messages"
  | "message"
  | "assignThread"
  | "markAnswered"
  | "unanswered"
  | "roomOfMessage"
>

export type DocumentsPart = Pick<Repository["Service"], "document" | "updateDocument" | "switchDocument" | "flushRoom">

export type OutboxPart = Pick<Repository["Service"], "unsent" | "unsentRooms" | "sent">

export type PeoplePart = Pick<Repository["Service"], "addContact" | "contacts" | "removeContact" | "addFeedback">
