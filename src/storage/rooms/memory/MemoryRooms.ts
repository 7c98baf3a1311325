// The state that the room stores in memory share, and what every write in a room has in common. Each of their
// operations is one synchronous step, and so all or nothing. Any number of instances may share it.
import { Clock, Context, Effect, Layer, Result } from "effect"
import type { Actor } from "../../../domain/Actor.ts"
import type { Contact, Feedback } from "../../../domain/Contact.ts"
import type { Document } from "../../../domain/Document.ts"
import type { Message, Thread } from "../../../domain/Message.ts"
import {
  Forbidden,
  isAtLeast,
  NotAMember,
  type Participant,
  type Role,
  type Room,
  RoomNotFound,
  StorageUnavailable
} from "../../../domain/Room.ts"
import type { RoomChange } from "../../../domain/RoomEvent.ts"
import { type Change, type Committed, Unchanged, type WriteRefused } from "../Committed.ts"
import type { NewInvite } from "../InviteStore.ts"

/** What memory takes; beyond it, rooms and messages are refused. */
export const maxRooms = 100_000
export const maxMessages = 1_000_000

export interface StoredMessage {
  readonly room: StoredRoom
  readonly ordinal: number
  message: Message
  /** Counts its changes. */
  version: number
}

export interface StoredRoom {
  room: Room
  /** Milliseconds since the epoch. */
  deletedAt: number | undefined
  changeNumber: number
  epochCounter: number
  readonly members: Map<string, Participant>
  /** Users that an owner removed, and the change number of the removal. */
  readonly removed: Map<string, number>
  /** The document that is open. */
  document: string
  readonly documents: Map<string, Document>
  readonly threads: Map<string, Thread>
  /** In the order of their ordinals. */
  readonly messages: Array<StoredMessage>
  /** By author and key. */
  readonly byKey: Map<string, StoredMessage>
  /** The outbox, by change number. */
  readonly pending: Map<number, { readonly change: RoomChange; readonly storedAt: number }>
}

export interface StoredInvite extends NewInvite {
  uses: number
  /** Its place among all invites, in the order they were made. */
  readonly no: number
  /** The room's, when the invite was made. */
  readonly changeNumber: number
}

const emptyState = () => ({
  rooms: new Map<string, StoredRoom>(),
  invites: new Map<string, StoredInvite>(),
  /** Counts the invites that any instance made. */
  invitesMade: 0,
  /** The room of each thread. */
  threads: new Map<string, StoredRoom>(),
  messages: new Map<string, StoredMessage>(),
  contacts: new Map<string, Map<string, Contact>>(),
  feedback: new Map<string, Feedback>(),
  /** The greatest fence that purged, by lock. */
  fences: new Map<string, number>()
})

export class MemoryRooms extends Context.Service<MemoryRooms, ReturnType<typeof emptyState>>()(
  "hotpath/storage/rooms/memory/MemoryRooms"
) {
  static readonly layer = Layer.sync(MemoryRooms, emptyState)
}

type Rooms = Pick<MemoryRooms["Service"], "rooms">

/** One operation. */
export const step = <A, E>(run: () => Result.Result<A, E>) => Effect.suspend(() => Effect.fromResult(run()))

/** What Postgres would refuse, which is an error of ours there, too. */
export const refused = (reason: string) => Result.fail(new StorageUnavailable({ reason: `refused: ${reason}` }))

/** The room, unless it is deleted. */
export const openRoom = ({ rooms }: Rooms, roomId: string): Result.Result<StoredRoom, RoomNotFound> => {
  const room = rooms.get(roomId)
  return room === undefined || room.deletedAt !== undefined ? Result.fail(new RoomNotFound()) : Result.succeed(room)
}

export const memberOf = (
  state: Rooms,
  roomId: string,
  user: string
): Result.Result<Participant, RoomNotFound | NotAMember> =>
  Result.flatMap(openRoom(state, roomId), ({ members }) =>
    Result.fromNullishOr(members.get(user), () => new NotAMember())
  )

export const requireRole = (state: Rooms, roomId: string, user: string, minimum: Role) =>
  Result.filterOrFail(
    memberOf(state, roomId, user),
    ({ role }) => isAtLeast(role, minimum),
    () => new Forbidden({ needs: minimum })
  )

/** As `write` in SQL; `change` makes its own checks before it changes anything. */
export const write = <A, E = never>(
  state: Rooms,
  roomId: string,
  actor: Actor,
  minimum: Role | undefined,
  change: (room: StoredRoom, now: number) => Result.Result<Change<A> | Unchanged<A>, E>
): Effect.Effect<Committed<A>, E | WriteRefused> => {
  const commit = (now: number) =>
    Result.gen(function* () {
      const room = yield* openRoom(state, roomId)
      if (minimum !== undefined) yield* requireRole(state, roomId, actor.user, minimum)
      const made = yield* change(room, now)
      if (made instanceof Unchanged) return { value: made.value, changes: [] } satisfies Committed<A>
      const { event, subject = "", type, value } = made
      const changeNumber = ++room.changeNumber
      const { epochCounter } = room
      const committed: RoomChange = { roomId, changeNumber, epochCounter, at: actor.at, type, subject, event }
      room.pending.set(changeNumber, { change: committed, storedAt: now })
      return { value, changes: [committed] } satisfies Committed<A>
    })
  return Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fromResult(commit(now)))
}
