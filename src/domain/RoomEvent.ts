// The events of a room. Clients receive them as `room.event {roomId, seq, at, event}`.
import { Schema } from "effect"
import { Document } from "./Document.ts"
import { Message, Thread } from "./Message.ts"
import { Room } from "./Room.ts"

const of = <Type extends string, Fields extends Schema.Struct.Fields>(type: Type, fields: Fields) =>
  Schema.Struct({ type: Schema.Literal(type), ...fields }).annotate({ identifier: identifierOf(type) })

/** `message.sent` is described as `MessageSentEvent`. */
const identifierOf = (type: string) =>
  `${type.replace(/(^|\.)(\w)/g, (_all, _dot, letter: string) => letter.toUpperCase())}Event`

export const RoomEvent = Schema.Union([
  of("message.sent", { message: Message }),
  of("message.edited", { message: Message }),
  of("message.deleted", { message: Message }),
  of("message.reacted", { message: Message }),
  of("thread.created", { thread: Thread }),
  of("thread.changed", { thread: Thread }),
  of("document.updated", {
    name: Schema.String,
    text: Schema.optionalKey(Schema.String),
    version: Schema.Int,
    author: Schema.String
  }),
  of("document.switched", { document: Document }),
  of("member.joined", { user: Schema.String }),
  of("member.left", { user: Schema.String }),
  of("presence.joined", { user: Schema.String }),
  of("presence.left", { user: Schema.String }),
  of("generate.delta", { messageId: Schema.String, text: Schema.String }),
  /** The deltas of that response so far are void. `reason` is an error's type, or `Restarted`: new deltas follow. */
  of("generate.ended", { messageId: Schema.String, promptId: Schema.String, reason: Schema.String }),
  of("room.changed", { room: Room }),
  /** Published by a member with `rooms.publish`. */
  of("custom", { name: Schema.String, data: Schema.Unknown, user: Schema.String }),
  of("room.deleted", {})
]).annotate({ identifier: "RoomEvent" })
export type RoomEvent = typeof RoomEvent.Type

/**
 * The type of a change that no client is sent: acknowledged writes, which were in no store for a while, are there
 * again. Who has read the room meanwhile reads it again.
 */
export const rescued = "room.rescued"
export const rescuedEvent = JSON.stringify({ type: rescued })
/** What a room's log has. */
export type LoggedType = RoomEvent["type"] | typeof rescued

/** An event of a committed write, before it gets its `seq`. */
export interface RoomChange {
  readonly roomId: string
  /** Counts the room's committed changes without a gap: events have this order. */
  readonly changeNumber: number
  /** Grows when the room's numbering can no longer be trusted; see rooms/delivery/Hub.ts. */
  readonly epochCounter: number
  readonly at: string
  readonly type: LoggedType
  /** For `member.*` and `presence.*` the user; for `document.updated` the connection that made the edit; else empty. */
  readonly subject: string
  /** The event as JSON text. */
  readonly event: string
}
