// A row of room_members, as the stores of members and invites read it.
import type { Participant, Role } from "../../domain/Room.ts"
import { iso } from "./RoomTransaction.ts"

export interface MemberRow {
  readonly user: string
  readonly role: Role
  readonly joinedAt: number
}

/** Of `room_members m`. */
export const memberColumns = `m.user_id AS "user", m.role, (extract(epoch FROM m.joined_at) * 1000)::float8 AS "joinedAt"`

export const toParticipant = ({ joinedAt, role, user }: MemberRow): Participant => ({
  user,
  role,
  joinedAt: iso(joinedAt)
})
