// Members of rooms, in memory.
import { Effect, Layer, Result } from "effect"
import { Forbidden, NotAMember } from "../../../domain/Room.ts"
import type { Change } from "../Committed.ts"
import { listLimits, partOf } from "../ListPart.ts"
import { MemberStore } from "../MemberStore.ts"
import { memberChange } from "../MessageRules.ts"
import { byText, MemoryRooms, memberOf } from "./MemoryRooms.ts"
import { makeRoomWrite } from "./RoomTransactionMemory.ts"

export const layer = Layer.effect(
  MemberStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const { invites, rooms } = state
    const write = yield* makeRoomWrite

    return MemberStore.of({
      get: (roomId, user) => Effect.suspend(() => Effect.fromResult(memberOf(state, roomId, user))),
      list: (roomId, query = {}) =>
        Effect.sync(() =>
          partOf(
            [...(rooms.get(roomId)?.members.values() ?? [])].sort(
              byText(
                ({ joinedAt }) => joinedAt,
                ({ user }) => user
              )
            ),
            ({ joinedAt, user }) => [joinedAt, user],
            query,
            listLimits.participants
          )
        ),
      remove: (roomId, user, actor) =>
        write(
          roomId,
          actor,
          user === actor.user ? undefined : "owner",
          ({ members, removed, changeNumber, room }): Result.Result<Change<void>, Forbidden | NotAMember> => {
            if (room.owner === user) return Result.fail(new Forbidden({ needs: "another than the room's maker" }))
            if (!members.delete(user)) return Result.fail(new NotAMember())
            for (const [inviteId, invite] of invites) {
              if (invite.roomId === roomId && invite.createdBy === user) invites.delete(inviteId)
            }
            if (user !== actor.user) removed.set(user, changeNumber + 1)
            return Result.succeed(memberChange("member.left", user, undefined))
          }
        )
    })
  })
)
