// An invite as the users who may revoke it see it, without its secret.
import { Schema } from "effect"
import { Role, Time } from "./Room.ts"

export const Invite = Schema.Struct({
  /** The first half of the token. */
  inviteId: Schema.String,
  role: Role,
  createdBy: Schema.String,
  createdAt: Time,
  /** Null: never. */
  expiresAt: Schema.NullOr(Time),
  /** Null: any number. */
  maxUses: Schema.NullOr(Schema.Int),
  uses: Schema.Int
}).annotate({ identifier: "RoomInvite" })
export type Invite = typeof Invite.Type

/** The member has as many invites in the room as they may (MAX_INVITES). */
export class TooManyInvites extends Schema.TaggedError<TooManyInvites>()("TooManyInvites", { most: Schema.Finite }) {}
