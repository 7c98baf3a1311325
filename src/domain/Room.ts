// A room, its participants and their roles.
import { Schema } from "effect"
import { UserId } from "./Identity.ts"
import { textBetween } from "./Text.ts"

/** An id as clients send it. Text that is not an id (Ids.ts) is not found. */
export const Id = textBetween(1, 64)
/** A time in ISO 8601. */
export const Time = Schema.String

export const Role = Schema.Literals(["owner", "member", "viewer"])
export type Role = typeof Role.Type

/** Owners may invite anyone; members may invite members and viewers. */
export const mayInvite = (inviter: Role, invited: Role): boolean =>
  inviter === "owner" || (inviter === "member" && invited !== "owner")

// Roles are ordered: viewers read, members also write, owners also decide about the room.
const rank: Readonly<Record<Role, number>> = { viewer: 0, member: 1, owner: 2 }
export const isAbove = (role: Role, other: Role): boolean => rank[role] > rank[other]
export const isAtLeast = (role: Role, minimum: Role): boolean => rank[role] >= rank[minimum]
export const rolesFrom = (minimum: Role): ReadonlyArray<Role> =>
  Role.literals.filter((role) => isAtLeast(role, minimum))

export const Title = textBetween(1, 200)

export const Room = Schema.Struct({
  roomId: Schema.String,
  title: Schema.String,
  /** The user who created it. */
  owner: Schema.String,
  autoAssign: Schema.Boolean,
  createdAt: Time
}).annotate({ identifier: "Room" })
export type Room = typeof Room.Type
/** What an owner may change of it. */
export type RoomSettings = Partial<Pick<Room, "title" | "autoAssign">>

export const Participant = Schema.Struct({ user: Schema.String, role: Role, joinedAt: Time }).annotate({
  identifier: "Participant"
})
export type Participant = typeof Participant.Type

/** A user who has connections in the room now. */
export const Present = Schema.Struct({ user: UserId, connections: Schema.Int, since: Time }).annotate({
  identifier: "Presence"
})
export type Present = typeof Present.Type

/** There is no such room, or it was deleted. */
export class RoomNotFound extends Schema.TaggedError<RoomNotFound>()("RoomNotFound", {}) {}

/** The caller is not a member of the room: an invite is needed. */
export class NotAMember extends Schema.TaggedError<NotAMember>()("NotAMember", {}) {}

/** The caller's role does not allow it. */
export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", {
  /** The least role that may; where no role helps, what is needed instead. */
  needs: Schema.Union([Role, Schema.Literals(["rooms.leave, to remove oneself", "another than the room's maker"])])
}) {}

/** There is no such invite, or it was revoked, has expired or is used up. Who guesses does not learn which. */
export class InviteInvalid extends Schema.TaggedError<InviteInvalid>()("InviteInvalid", {}) {}

/** The connection is subscribed to as many rooms as it may be (MAX_ROOMS). */
export class TooManyRooms extends Schema.TaggedError<TooManyRooms>()("TooManyRooms", { most: Schema.Finite }) {}

/** No store could be reached, or it did not answer in time. A write may or may not have been stored: repeat it. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  reason: Schema.String
}) {}

/** PostgreSQL is unavailable, and the buffer of unsaved writes is full (by count or by age): nothing was stored. */
export class BufferFull extends Schema.TaggedError<BufferFull>()("BufferFull", {}) {}

/** The room's members changed since the caller's role was read: it has to be read again. No client gets this error. */
export class MembershipUnsure extends Schema.TaggedError<MembershipUnsure>()("MembershipUnsure", {}) {}

/** This instance does not share both stores with the others: what it writes in a room would not reach them. */
export class StoresDiffer extends Schema.TaggedError<StoresDiffer>()("StoresDiffer", {
  /** The settings that differ, without addresses. */
  reason: Schema.String
}) {}
