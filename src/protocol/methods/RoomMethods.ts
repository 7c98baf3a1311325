// The methods of rooms, presence, contacts and feedback.
import { Schema } from "effect"
import { Contact } from "../../domain/Contact.ts"
import { Document } from "../../domain/Document.ts"
import { UserId } from "../../domain/Identity.ts"
import { Invite } from "../../domain/Invite.ts"
import { Message } from "../../domain/Message.ts"
import { Id, Participant, Present, Role, Room, Title } from "../../domain/Room.ts"
import { RoomEvent } from "../../domain/RoomEvent.ts"
import { textBetween } from "../../domain/Text.ts"
import { Count, listParams, listRest, method, Nothing, roomReads, roomWrites } from "./Method.ts"

const Text = (most: number) => textBetween(1, most)
const Cursor = textBetween(0, 100)

const state = {
  room: Room,
  participants: Schema.Array(Participant),
  present: Schema.Array(Present),
  document: Document,
  messages: Schema.Array(Message),
  /** Whether there are older messages. */
  more: Schema.Boolean,
  /** Whether there are others; `rooms.participants` and `presence.list` have them. */
  moreParticipants: Schema.optionalKey(Schema.Boolean),
  morePresent: Schema.optionalKey(Schema.Boolean)
}

const Event = Schema.Struct({ roomId: Schema.String, seq: Count, at: Schema.String, event: RoomEvent }).annotate({
  identifier: "SequencedEvent"
})

export const RoomMethods = {
  "rooms.create": method(
    "makes a room; its maker is its owner",
    { title: Title, autoAssign: Schema.optionalKey(Schema.Boolean) },
    Room,
    ["StorageUnavailable"]
  ),
  "rooms.get": method("a room", { roomId: Id }, Room, roomReads),
  "rooms.list": method(
    "the caller's rooms, newest first",
    listParams,
    Schema.Struct({ rooms: Schema.Array(Room), ...listRest }),
    ["StorageUnavailable"]
  ),
  "rooms.participants": method(
    "the room's participants, in the order they joined",
    { roomId: Id, ...listParams },
    Schema.Struct({ participants: Schema.Array(Participant), ...listRest }),
    roomReads
  ),
  "rooms.delete": method("ends a room for everybody; for owners", { roomId: Id }, Nothing, roomWrites),
  "rooms.join": method(
    "comes into a room with this connection: its state, and from the cursor on every event; with an invite, becomes a member",
    { roomId: Id, invite: Schema.optionalKey(Text(100)) },
    Schema.Struct({ ...state, cursor: Schema.String }),
    [...roomReads, "InviteInvalid", "RateLimited", "TooManyRooms"]
  ),
  "rooms.leave": method(
    "ends the caller's membership; the room's maker stays its owner, and leaves with this connection only",
    { roomId: Id },
    Nothing,
    roomWrites
  ),
  "rooms.resume": method(
    "comes back into a room: what was missed since the cursor, or (`recovered: false`) the state anew, as of a join",
    { roomId: Id, cursor: Cursor },
    Schema.Struct({
      recovered: Schema.Boolean,
      events: Schema.Array(Event),
      cursor: Schema.String,
      room: Schema.optionalKey(state.room),
      participants: Schema.optionalKey(state.participants),
      present: Schema.optionalKey(state.present),
      document: Schema.optionalKey(state.document),
      messages: Schema.optionalKey(state.messages),
      more: Schema.optionalKey(state.more),
      moreParticipants: state.moreParticipants,
      morePresent: state.morePresent
    }),
    [...roomReads, "TooManyRooms"]
  ),
  "rooms.invite": method(
    "makes an invite; members invite members and viewers, owners anyone",
    {
      roomId: Id,
      role: Role,
      expiresInMs: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 31_536_000_000 }))),
      maxUses: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })))
    },
    Schema.Struct({ token: Schema.String }),
    [...roomWrites, "TooManyInvites"]
  ),
  "rooms.invites": method(
    "a page of the room's invites, newest first: all of them for owners, members see their own; `next` is the next page's `cursor`",
    {
      roomId: Id,
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))),
      cursor: Schema.optionalKey(
        Schema.String.check(Schema.isPattern(/^\d{1,15}$/, { expected: "the `next` of a page before" }))
      )
    },
    Schema.Struct({ items: Schema.Array(Invite), next: Schema.NullOr(Schema.String) }),
    roomWrites
  ),
  "rooms.revokeInvite": method(
    "makes an invite useless, by its `token` or its `inviteId`; owners any, members their own",
    { roomId: Id, token: Schema.optionalKey(Text(100)), inviteId: Schema.optionalKey(Text(100)) },
    Nothing,
    roomWrites
  ),
  "rooms.remove": method(
    "ends somebody's membership and their invites, at once; no invite made before lets them in again; for owners",
    { roomId: Id, user: UserId },
    Nothing,
    roomWrites
  ),
  "presence.list": method(
    "who has connections in the room now, in the order they came",
    { roomId: Id, ...listParams },
    Schema.Struct({ present: Schema.Array(Present), ...listRest }),
    roomReads
  ),
  "contacts.add": method(
    "keeps a contact of the caller's; again: with another name and note",
    { user: UserId, name: Schema.optionalKey(Text(200)), note: Schema.optionalKey(Text(2000)) },
    Contact,
    ["TooManyContacts", "StorageUnavailable"]
  ),
  "contacts.list": method(
    "the caller's contacts, oldest first",
    listParams,
    Schema.Struct({ contacts: Schema.Array(Contact), ...listRest }),
    ["StorageUnavailable"]
  ),
  "contacts.remove": method("forgets a contact", { user: UserId }, Nothing, ["StorageUnavailable"]),
  "feedback.submit": method(
    "tells us what the caller thinks of something; `rating` 1 to 5",
    {
      about: Text(200),
      rating: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
      comment: Schema.optionalKey(Text(5000))
    },
    Schema.Struct({ feedbackId: Schema.String }),
    ["StorageUnavailable"]
  )
} as const
