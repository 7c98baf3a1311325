// Rooms and their members, in memory.

import { Effect, Result } from "effect"
import { firstDocument } from "../../../domain/Document.ts"
import { isUuid } from "../../../domain/Ids.ts"
import { Forbidden, isAbove, NotAMember, owners, RoomNotFound } from "../../../domain/Room.ts"
import { someOf } from "../ListPart.ts"
import { memberTold, roomDeletedTold } from "../MessageRules.ts"
import type { RoomsPart } from "../Parts.ts"
import { most } from "../Repository.ts"
import { type Told, Unchanged } from "../RoomTransaction.ts"
import { goodInvite } from "./InviteStoreMemory.ts"
import { byText, type Held, makeRoomWrite, memberOf, openRoom, refused } from "./RoomTransactionMemory.ts"

export const makeRooms = (held: Held): RoomsPart => {
  const { invites, rooms } = held
  const write = makeRoomWrite(held)

  return {
    createRoom: (room) =>
      Effect.suspend(() => {
        const { createdAt, owner, roomId } = room
        if (!isUuid(roomId) || rooms.has(roomId)) return Effect.fromResult(refused(`room ${roomId}`))
        rooms.set(roomId, {
          room,
          deletedAt: undefined,
          changeNumber: 0,
          epochCounter: 0,
          members: new Map([[owner, { user: owner, role: "owner", joinedAt: createdAt }]]),
          document: firstDocument,
          documents: new Map(),
          removed: new Map(),
          threads: new Map(),
          messages: [],
          byKey: new Map(),
          unsent: new Map()
        })
        return Effect.void
      }),
    room: (roomId) =>
      Effect.suspend(() =>
        Effect.fromResult(
          Result.map(openRoom(held, roomId), ({ epochCounter, changeNumber, room }) => ({
            room,
            changeNumber,
            epochCounter
          }))
        )
      ),
    roomsOf: (user, query = {}) =>
      Effect.sync(() =>
        someOf(
          [...rooms.values()]
            .filter(({ deletedAt, members }) => deletedAt === undefined && members.has(user))
            .map(({ room }) => room)
            .sort(byText((room) => room.roomId))
            .sort((one, other) => byText<typeof one>((room) => room.createdAt)(other, one)),
          ({ createdAt, roomId }) => [createdAt, roomId],
          query,
          most.rooms,
          true
        )
      ),
    deleteRoom: (roomId, actor) =>
      write(roomId, actor, owners, (room) => {
        room.deletedAt = Date.parse(actor.at)
        return Result.succeed(roomDeletedTold)
      }),
    advanceEpoch: (roomId) =>
      Effect.suspend(() => {
        const room = rooms.get(roomId)
        return room === undefined ? Effect.fail(new RoomNotFound()) : Effect.succeed(++room.epochCounter)
      }),
    member: (roomId, user) => Effect.suspend(() => Effect.fromResult(memberOf(held, roomId, user))),
    participants: (roomId, query = {}) =>
      Effect.sync(() =>
        someOf(
          [...(rooms.get(roomId)?.members.values() ?? [])].sort(
            byText(
              ({ joinedAt }) => joinedAt,
              ({ user }) => user
            )
          ),
          ({ joinedAt, user }) => [joinedAt, user],
          query,
          most.participants
        )
      ),
    join: (roomId, key, actor, now) =>
      write(roomId, actor, undefined, ({ members }) =>
        Result.map(goodInvite(held, key, roomId, actor.user, now), (invite) => {
          const before = members.get(actor.user)
          if (before !== undefined && !isAbove(invite.role, before.role)) return new Unchanged(before)
          const joined = { user: actor.user, role: invite.role, joinedAt: before?.joinedAt ?? actor.at }
          invite.uses++
          members.set(actor.user, joined)
          return memberTold("member.joined", actor.user, joined)
        })
      ),
    removeMember: (roomId, user, actor) =>
      write(
        roomId,
        actor,
        user === actor.user ? undefined : owners,
        ({ members, removed, changeNumber, room }): Result.Result<Told<undefined>, Forbidden | NotAMember> => {
          if (room.owner === user) return Result.fail(new Forbidden({ needs: "another than the room's maker" }))
          if (!members.delete(user)) return Result.fail(new NotAMember())
          for (const [inviteId, invite] of invites) {
            if (invite.roomId === roomId && invite.createdBy === user) invites.delete(inviteId)
          }
          if (user !== actor.user) removed.set(user, changeNumber + 1)
          return Result.succeed(memberTold("member.left", user, undefined))
        }
      )
  }
}
