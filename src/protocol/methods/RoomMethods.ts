// The methods of rooms, presence, contacts and feedback.
import { Schema, Struct } from "effect"
import { Contact, TooManyContacts } from "../../domain/Contact.ts"
import { Document } from "../../domain/Document.ts"
import { UserId } from "../../domain/Identity.ts"
import { Invite, TooManyInvites } from "../../domain/Invite.ts"
import { Message } from "../../domain/Message.ts"
import { RateLimited } from "../../domain/Overload.ts"
import {
  Id,
  InviteInvalid,
  Participant,
  Present,
  Role,
  Room,
  StorageUnavailable,
  StoresDiffer,
  Title,
  TooManyRooms
} from "../../domain/Room.ts"
import { RoomEvent } from "../../domain/RoomEvent.ts"
import { textBetween } from "../../domain/Text.ts"
import {
  AnyJson,
  action,
  Count,
  intBetween,
  listParams,
  listRest,
  Nothing,
  read,
  roomReads,
  roomWrites,
  write
} from "./Method.ts"

const Text = (maxLength: number) => textBetween(1, maxLength)
const Cursor = textBetween(0, 100)

const state = {
  room: Room,
  participants: Schema.Array(Participant),
  present: Schema.Array(Present),
  document: Document,
  messages: Schema.Array(Message),
  /** Whether there are older messages. */
  more: Schema.Boolean
}
/** Present and true when the list was cut; `rooms.participants` and `presence.list` return the rest. */
const cut = {
  moreParticipants: Schema.optionalKey(Schema.Boolean),
  morePresent: Schema.optionalKey(Schema.Boolean)
}

const Event = Schema.Struct({ roomId: Schema.String, seq: Count, at: Schema.String, event: RoomEvent }).annotate({
  identifier: "SequencedEvent"
})

const jsonUpTo = (maxBytes: number) =>
  AnyJson.check(
    Schema.makeFilter(
      (data) => Buffer.byteLength(JSON.stringify(data)) <= maxBytes || `must be at most ${maxBytes} bytes of JSON`
    )
  )
const CustomData = jsonUpTo(16_384)
const SignalData = jsonUpTo(4096)

const resumed = {
  recovered: Schema.Boolean,
  events: Schema.Array(Event),
  cursor: Schema.String,
  ...Struct.map(state, Schema.optionalKey),
  ...cut
}

/** What methods may fail with that concern no single room. */
const acrossRooms = [StorageUnavailable, StoresDiffer] as const

export const RoomMethods = {
  "rooms.create": write(
    "creates a room; the caller becomes its owner",
    { title: Title, autoAssign: Schema.optionalKey(Schema.Boolean) },
    Room,
    acrossRooms
  ),
  "rooms.get": read("returns a room", { roomId: Id }, Room, roomReads),
  "rooms.list": read(
    "returns the caller's rooms, newest first",
    listParams,
    Schema.Struct({ rooms: Schema.Array(Room), ...listRest }),
    acrossRooms
  ),
  "rooms.participants": read(
    "returns the room's participants, in the order they joined",
    { roomId: Id, ...listParams },
    Schema.Struct({ participants: Schema.Array(Participant), ...listRest }),
    roomReads
  ),
  "rooms.update": write(
    "changes the room's title, or whether its messages are assigned to threads; for owners",
    { roomId: Id, title: Schema.optionalKey(Title), autoAssign: Schema.optionalKey(Schema.Boolean) },
    Room,
    roomWrites
  ),
  "rooms.delete": write("deletes a room for everyone; for owners", { roomId: Id }, Nothing, roomWrites),
  "rooms.join": write(
    "subscribes this connection to a room: returns its state, then every event after `cursor`; with an invite, the caller becomes a member first",
    { roomId: Id, invite: Schema.optionalKey(Text(100)) },
    Schema.Struct({ ...state, ...cut, cursor: Schema.String }),
    [...roomWrites, InviteInvalid, RateLimited, TooManyRooms]
  ),
  "rooms.leave": write(
    "ends the caller's membership; the room's creator stays its owner, and only unsubscribes this connection",
    { roomId: Id },
    Nothing,
    roomWrites
  ),
  "rooms.resume": write(
    "subscribes this connection again after a reconnect: returns the events missed since `cursor`, or with `recovered: false` the state, as a join does",
    { roomId: Id, cursor: Cursor },
    Schema.Struct(resumed),
    [...roomReads, TooManyRooms]
  ),
  "rooms.resumeAll": write(
    "resumes up to 100 rooms in one request: for each of them, in their order, what `rooms.resume` returns or its error",
    {
      rooms: Schema.Array(Schema.Struct({ roomId: Id, cursor: Cursor })).check(
        Schema.isMinLength(1),
        Schema.isMaxLength(100)
      )
    },
    Schema.Struct({
      rooms: Schema.Array(
        Schema.Union([
          Schema.Struct({ roomId: Id, ...resumed }),
          Schema.Struct({
            roomId: Id,
            error: Schema.Struct({ code: Schema.Int, message: Schema.String, data: AnyJson })
          })
        ])
      )
    }),
    [StoresDiffer]
  ),
  "rooms.publish": write(
    "publishes an event `custom` of any name and data, at most 16 KiB of JSON: in order with the others and resumable, kept in the room's stream only; for members",
    { roomId: Id, name: Text(64), data: CustomData },
    Schema.Struct({ seq: Count }),
    roomWrites
  ),
  "rooms.signal": action(
    "notifies the connections that are in the room now, but this one, with `room.signal`; not numbered and not kept: of many in a short time the last one is sent",
    { roomId: Id, name: Text(64), data: SignalData },
    Nothing,
    roomReads
  ),
  "rooms.invite": write(
    "creates an invite; members may invite members and viewers, owners anyone",
    {
      roomId: Id,
      role: Role,
      expiresInMs: Schema.optionalKey(intBetween(1, 31_536_000_000)),
      maxUses: Schema.optionalKey(intBetween(1, 1_000_000))
    },
    Schema.Struct({ token: Schema.String }),
    [...roomWrites, TooManyInvites]
  ),
  "rooms.invites": read(
    "returns a page of the room's invites, newest first: all of them for owners, for members their own; `next` is the `cursor` of the next page",
    {
      roomId: Id,
      limit: Schema.optionalKey(intBetween(1, 100)),
      cursor: Schema.optionalKey(
        Schema.String.check(Schema.isPattern(/^\d{1,15}$/, { expected: "the `next` of an earlier answer" }))
      )
    },
    Schema.Struct({ items: Schema.Array(Invite), next: Schema.NullOr(Schema.String) }),
    roomWrites
  ),
  "rooms.revokeInvite": write(
    "revokes an invite, named by its `token` or its `inviteId`; owners any, members their own",
    { roomId: Id, token: Schema.optionalKey(Text(100)), inviteId: Schema.optionalKey(Text(100)) },
    Nothing,
    roomWrites
  ),
  "rooms.remove": write(
    "removes a member and revokes their invites at once; invites created before do not let them in again; for owners",
    { roomId: Id, user: UserId },
    Nothing,
    roomWrites
  ),
  "presence.list": read(
    "returns the users who are connected to the room now, in the order they came",
    { roomId: Id, ...listParams },
    Schema.Struct({ present: Schema.Array(Present), ...listRest }),
    roomReads
  ),
  "contacts.add": write(
    "adds a contact of the caller's, or replaces its name and note",
    { user: UserId, name: Schema.optionalKey(Text(200)), note: Schema.optionalKey(Text(2000)) },
    Contact,
    [TooManyContacts, StorageUnavailable]
  ),
  "contacts.list": read(
    "returns the caller's contacts, oldest first",
    listParams,
    Schema.Struct({ contacts: Schema.Array(Contact), ...listRest }),
    [StorageUnavailable]
  ),
  "contacts.remove": write("removes a contact", { user: UserId }, Nothing, [StorageUnavailable]),
  "feedback.submit": write(
    "submits feedback about anything; `rating` is 1 to 5",
    {
      about: Text(200),
      rating: intBetween(1, 5),
      comment: Schema.optionalKey(Text(5000))
    },
    Schema.Struct({ feedbackId: Schema.String }),
    [StorageUnavailable]
  )
} as const
