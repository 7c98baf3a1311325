// What the repository in memory holds, and what every write in a room has in common: the actor's role, the room's next
// revision and the event beside it. Each operation is one synchronous step, and so all or nothing.
import { Clock, Effect, Result } from "effect"
import type { Actor } from "../../../domain/Actor.ts"
import type { Contact, Feedback } from "../../../domain/Contact.ts"
import type { Document } from "../../../domain/Document.ts"
import { isUuid } from "../../../domain/Ids.ts"
import type { Message, Thread } from "../../../domain/Message.ts"
import {
  Forbidden,
  NotAMember,
  type Participant,
  type Role,
  type Room,
  RoomNotFound,
  StorageUnavailable
} from "../../../domain/Room.ts"
import type { RoomChange } from "../../../domain/RoomEvent.ts"
import type { Committed, NewInvite } from "../Repository.ts"
import { least, type Told, Unchanged } from "../RoomTransaction.ts"

export interface StoredMessage {
  readonly room: StoredRoom
  readonly ordinal: number
  message: Message
  /** Counts its changes. */
  version: number
}

export interface StoredRoom {
  readonly room: Room
  /** Milliseconds since the epoch. */
  deletedAt: number | undefined
  changeNumber: number
  epochCounter: number
  readonly members: Map<string, Participant>
  /** Whom an owner removed, and with which revision. */
  readonly removed: Map<string, number>
  /** Which of them is open. */
  document: string
  readonly documents: Map<string, Document>
  readonly threads: Map<string, Thread>
  /** In the order of their positions. */
  readonly messages: Array<StoredMessage>
  /** By author and key. */
  readonly byKey: Map<string, StoredMessage>
  /** Changes that were not told yet, by revision. */
  readonly unsent: Map<number, { readonly change: RoomChange; readonly keptAt: number }>
}

export interface StoredInvite extends NewInvite {
  uses: number
  /** Counts the invites that were made. */
  readonly no: number
  /** The room's when it was made. */
  readonly changeNumber: number
}

export interface Held {
  readonly rooms: Map<string, StoredRoom>
  readonly invites: Map<string, StoredInvite>
  /** In which room each is. */
  readonly threads: Map<string, StoredRoom>
  readonly messages: Map<string, StoredMessage>
  readonly contacts: Map<string, Map<string, Contact>>
  readonly feedback: Map<string, Feedback>
}

export const emptyState = (): Held => ({
  rooms: new Map(),
  invites: new Map(),
  threads: new Map(),
  messages: new Map(),
  contacts: new Map(),
  feedback: new Map()
})

/** What Postgres would refuse: a fault of ours, as there. */
export const refused = (reason: string) => Result.fail(new StorageUnavailable({ reason: `refused: ${reason}` }))

/** The room, unless it is deleted. */
export const openRoom = ({ rooms }: Held, roomId: string): Result.Result<StoredRoom, RoomNotFound> => {
  const room = rooms.get(roomId)
  return room === undefined || room.deletedAt !== undefined ? Result.fail(new RoomNotFound()) : Result.succeed(room)
}

export const memberOf = (held: Held, roomId: string, user: string) =>
  Result.flatMap(openRoom(held, roomId), ({ members }): Result.Result<Participant, NotAMember> => {
    const found = members.get(user)
    return found === undefined ? Result.fail(new NotAMember()) : Result.succeed(found)
  })

/** The order of Postgres's `ORDER BY a, b`, as UTF-16 has it. */
export const byText =
  <A>(...keys: ReadonlyArray<(one: A) => string>) =>
  (one: A, other: A): number => {
    for (const key of keys) {
      const [left, right] = [key(one), key(other)]
      if (left !== right) return left < right ? -1 : 1
    }
    return 0
  }

export const makeRoomWrite = (held: Held) => {
  const commit = <A, E>(
    roomId: string,
    actor: Actor,
    allowed: ReadonlyArray<Role> | undefined,
    change: (room: StoredRoom, now: number) => Result.Result<Told<A> | Unchanged<A>, E>,
    now: number
  ) =>
    Result.gen(function* () {
      const room = yield* isUuid(roomId) ? openRoom(held, roomId) : Result.fail(new RoomNotFound())
      if (allowed !== undefined) {
        const member = yield* memberOf(held, roomId, actor.user)
        if (!allowed.includes(member.role)) return yield* Result.fail(new Forbidden({ needs: least(allowed) }))
      }
      const changeNumber = room.changeNumber + 1
      const made = yield* change(room, now)
      if (made instanceof Unchanged) return { value: made.value, changes: [] } satisfies Committed<A>
      const { event, subject = "", type, value } = made
      room.changeNumber = changeNumber
      const told: RoomChange = {
        roomId,
        changeNumber,
        epochCounter: room.epochCounter,
        at: actor.at,
        type,
        subject,
        event
      }
      room.unsent.set(changeNumber, { change: told, keptAt: now })
      return { value, changes: [told] } satisfies Committed<A>
    })

  /** As the one in SQL; `change` checks whatever is left to check before it changes anything. */
  return <A, E = never>(
    roomId: string,
    actor: Actor,
    allowed: ReadonlyArray<Role> | undefined,
    change: (room: StoredRoom, now: number) => Result.Result<Told<A> | Unchanged<A>, E>
  ) => Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fromResult(commit(roomId, actor, allowed, change, now)))
}
