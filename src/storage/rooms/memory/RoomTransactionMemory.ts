// What every write in a room has in common, in memory: the check of the actor's role, the room's next change number
// and the event in the outbox.
import { Clock, Effect, Result } from "effect"
import type { Actor } from "../../../domain/Actor.ts"
import { isUuid } from "../../../domain/Ids.ts"
import { Forbidden, isAtLeast, type Role, RoomNotFound } from "../../../domain/Room.ts"
import type { RoomChange } from "../../../domain/RoomEvent.ts"
import { type Change, type Committed, Unchanged, type WriteRefused } from "../Committed.ts"
import { MemoryRooms, memberOf, openRoom, type StoredRoom } from "./MemoryRooms.ts"

export const makeRoomWrite = Effect.gen(function* () {
  const state = yield* MemoryRooms

  /** As the one in SQL; `change` makes its own checks before it changes anything. */
  return <A, E = never>(
    roomId: string,
    actor: Actor,
    minimum: Role | undefined,
    change: (room: StoredRoom, now: number) => Result.Result<Change<A> | Unchanged<A>, E>
  ): Effect.Effect<Committed<A>, E | WriteRefused> => {
    const commit = (now: number) =>
      Result.gen(function* () {
        const room = yield* isUuid(roomId) ? openRoom(state, roomId) : Result.fail(new RoomNotFound())
        if (minimum !== undefined) {
          const { role } = yield* memberOf(state, roomId, actor.user)
          if (!isAtLeast(role, minimum)) return yield* Result.fail(new Forbidden({ needs: minimum }))
        }
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
})
