// Invites, in memory.
import { Effect, Result } from "effect"
import { type Invite, TooManyInvites } from "../../../domain/Invite.ts"
import {
  Forbidden,
  InviteInvalid,
  mayInvite,
  type NotAMember,
  type RoomNotFound,
  type StorageUnavailable,
  writers
} from "../../../domain/Room.ts"
import type { InvitesPart } from "../Parts.ts"
import type { InviteKey } from "../Repository.ts"
import { iso, least } from "../RoomTransaction.ts"
import { type Held, memberOf, refused, type StoredInvite } from "./RoomTransactionMemory.ts"

const isUnspent = ({ expiresAt, maxUses, uses }: StoredInvite, now: number): boolean =>
  (expiresAt === undefined || expiresAt > now) && (maxUses === undefined || uses < maxUses)

/** The invite, if it lets the user in now. */
export const goodInvite = (
  { invites, rooms }: Held,
  { inviteId, secretHash }: InviteKey,
  roomId: string,
  user: string,
  now: number
): Result.Result<StoredInvite, InviteInvalid> => {
  const invite = invites.get(inviteId)
  const room = rooms.get(roomId)
  const maker = invite === undefined ? undefined : room?.members.get(invite.createdBy)
  const isGood =
    invite !== undefined &&
    room !== undefined &&
    maker !== undefined &&
    invite.roomId === roomId &&
    invite.secretHash === secretHash &&
    isUnspent(invite, now) &&
    mayInvite(maker.role, invite.role) &&
    (room.removed.get(user) ?? 0) <= invite.changeNumber
  return isGood ? Result.succeed(invite) : Result.fail(new InviteInvalid())
}

const shown = ({ createdAt, createdBy, expiresAt, inviteId, maxUses, role, uses }: StoredInvite): Invite => ({
  inviteId,
  role,
  createdBy,
  createdAt: iso(createdAt),
  expiresAt: expiresAt === undefined ? null : iso(expiresAt),
  maxUses: maxUses ?? null,
  uses
})

export const makeInvites = (held: Held): InvitesPart => {
  const { invites, rooms } = held
  let made = 0
  const ofRoom = (roomId: string, createdBy: string | undefined) =>
    [...invites.values()].filter(
      (invite) => invite.roomId === roomId && (createdBy === undefined || invite.createdBy === createdBy)
    )

  return {
    createInvite: (invite, allowed, most) =>
      Effect.suspend(() =>
        Effect.fromResult(
          Result.flatMap(
            memberOf(held, invite.roomId, invite.createdBy),
            ({ role }): Result.Result<void, Forbidden | StorageUnavailable | TooManyInvites> => {
              if (!allowed.includes(role)) return Result.fail(new Forbidden({ needs: least(allowed) }))
              if (invites.has(invite.inviteId)) return refused(`invite ${invite.inviteId}`)
              const own = ofRoom(invite.roomId, invite.createdBy)
              if (own.length >= most) {
                const spent = own.filter((one) => !isUnspent(one, invite.createdAt))
                if (own.length - spent.length >= most) return Result.fail(new TooManyInvites({ most }))
                for (const { inviteId } of spent) invites.delete(inviteId)
              }
              const changeNumber = rooms.get(invite.roomId)?.changeNumber ?? 0
              invites.set(invite.inviteId, { ...invite, uses: 0, no: ++made, changeNumber })
              return Result.void
            }
          )
        )
      ),
    invites: (roomId, { before = Number.POSITIVE_INFINITY, createdBy, limit }) =>
      Effect.sync(() => {
        const found = ofRoom(roomId, createdBy)
          .filter(({ no }) => no < before)
          .sort((one, other) => other.no - one.no)
        return {
          items: found.slice(0, limit).map(shown),
          next: found.length > limit ? found[limit - 1]?.no : undefined
        }
      }),
    invitedAs: (roomId, invite, user, now) =>
      Effect.suspend(() =>
        Effect.fromResult(Result.map(goodInvite(held, invite, roomId, user, now), ({ role }) => role))
      ),
    isInvite: (roomId, { inviteId, secretHash }) =>
      Effect.sync(() => {
        const invite = invites.get(inviteId)
        return invite !== undefined && invite.roomId === roomId && invite.secretHash === secretHash
      }),
    revokeInvite: (roomId, { inviteId, secretHash }, actor) =>
      Effect.suspend(() =>
        Effect.fromResult(
          Result.flatMap(
            memberOf(held, roomId, actor.user),
            ({ role }): Result.Result<void, Forbidden | NotAMember | RoomNotFound> => {
              if (!writers.includes(role)) return Result.fail(new Forbidden({ needs: least(writers) }))
              const invite = invites.get(inviteId)
              const isTheirs = role === "owner" || invite?.createdBy === actor.user
              const isIt = secretHash === undefined || invite?.secretHash === secretHash
              if (invite?.roomId === roomId && isIt && isTheirs) invites.delete(inviteId)
              return Result.void
            }
          )
        )
      )
  }
}
