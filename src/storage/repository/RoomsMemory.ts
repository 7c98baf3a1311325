// Rooms, their members and invites, in memory.

import { Effect, Result } from "effect"
import { firstDocument } from "../../domain/Document.ts"
import {
  Forbidden,
  InviteInvalid,
  isAbove,
  NotAMember,
  owners,
  RoomNotFound,
  type StorageUnavailable,
  writers
} from "../../domain/Room.ts"
import { type InviteKey, most } from "../Repository.ts"
import { memberTold, roomDeletedTold } from "./Changes.ts"
import { someOf } from "./Listed.ts"
import type { RoomsPart } from "./Parts.ts"
import { isUuid, least, type Told, Unchanged } from "./RoomWrite.ts"
import { byText, type Held, makeRoomWrite, memberOf, openRoom, refused } from "./RoomWriteMemory.ts"

export const makeRooms = (held: Held): RoomsPart => {
  const { invites, rooms } = held
  const write = makeRoomWrite(held)

  const good = ({ inviteId, secretHash }: InviteKey, roomId: string, now: number) => {
    const invite = invites.get(inviteId)
    const isGood =
      invite !== undefined &&
      invite.roomId === roomId &&
      invite.secretHash === secretHash &&
      (invite.expiresAt === undefined || invite.expiresAt > now) &&
      (invite.maxUses === undefined || invite.uses < invite.maxUses)
    return isGood ? Result.succeed(invite) : Result.fail(new InviteInvalid())
  }

  return {
    createRoom: (room) =>
      Effect.suspend(() => {
        const { createdAt, owner, roomId } = room
        if (!isUuid(roomId) || rooms.has(roomId)) return Effect.fromResult(refused(`room ${roomId}`))
        rooms.set(roomId, {
          room,
          deletedAt: undefined,
          revision: 0,
          generation: 0,
          members: new Map([[owner, { user: owner, role: "owner", joinedAt: createdAt }]]),
          document: firstDocument,
          documents: new Map(),
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
          Result.map(openRoom(held, roomId), ({ generation, revision, room }) => ({ room, revision, generation }))
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
    deleteRoom: (roomId, by) =>
      write(roomId, by, owners, (room) => {
        room.deletedAt = Date.parse(by.at)
        return Result.succeed(roomDeletedTold)
      }),
    newGeneration: (roomId) =>
      Effect.suspend(() => {
        const room = rooms.get(roomId)
        return room === undefined ? Effect.fail(new RoomNotFound()) : Effect.succeed(++room.generation)
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
    createInvite: (invite, allowed) =>
      Effect.suspend(() =>
        Effect.fromResult(
          Result.flatMap(
            memberOf(held, invite.roomId, invite.createdBy),
            ({ role }): Result.Result<void, Forbidden | StorageUnavailable> => {
              if (!allowed.includes(role)) return Result.fail(new Forbidden({ needs: least(allowed) }))
              if (invites.has(invite.inviteId)) return refused(`invite ${invite.inviteId}`)
              invites.set(invite.inviteId, { ...invite, uses: 0 })
              return Result.void
            }
          )
        )
      ),
    invitedAs: (roomId, invite, now) =>
      Effect.suspend(() => Effect.fromResult(Result.map(good(invite, roomId, now), ({ role }) => role))),
    isInvite: (roomId, { inviteId, secretHash }) =>
      Effect.sync(() => {
        const invite = invites.get(inviteId)
        return invite !== undefined && invite.roomId === roomId && invite.secretHash === secretHash
      }),
    revokeInvite: (roomId, { inviteId, secretHash }, by) =>
      Effect.suspend(() =>
        Effect.fromResult(
          Result.flatMap(memberOf(held, roomId, by.user), ({ role }): Result.Result<void, Forbidden> => {
            if (!writers.includes(role)) return Result.fail(new Forbidden({ needs: least(writers) }))
            const invite = invites.get(inviteId)
            const isTheirs = role === "owner" || invite?.createdBy === by.user
            if (invite?.roomId === roomId && invite.secretHash === secretHash && isTheirs) invites.delete(inviteId)
            return Result.void
          })
        )
      ),
    join: (roomId, key, by, now) =>
      write(roomId, by, undefined, ({ members }) =>
        Result.map(good(key, roomId, now), (invite) => {
          const before = members.get(by.user)
          if (before !== undefined && !isAbove(invite.role, before.role)) return new Unchanged(before)
          const joined = { user: by.user, role: invite.role, joinedAt: before?.joinedAt ?? by.at }
          invite.uses++
          members.set(by.user, joined)
          return memberTold("member.joined", by.user, joined)
        })
      ),
    removeMember: (roomId, user, by) =>
      write(
        roomId,
        by,
        user === by.user ? undefined : owners,
        ({ members, room }): Result.Result<Told<undefined>, Forbidden | NotAMember> => {
          if (room.owner === user) return Result.fail(new Forbidden({ needs: "another than the room's maker" }))
          return members.delete(user)
            ? Result.succeed(memberTold("member.left", user, undefined))
            : Result.fail(new NotAMember())
        }
      )
  }
}
