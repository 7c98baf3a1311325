// Invites, in memory.
import { Effect, Layer, Result } from "effect"
import { type Invite, TooManyInvites } from "../../../domain/Invite.ts"
import { InviteInvalid, isAbove, mayInvite } from "../../../domain/Room.ts"
import { Unchanged } from "../Committed.ts"
import { type InviteKey, InviteStore } from "../InviteStore.ts"
import { memberChange } from "../RoomRules.ts"
import { MemoryRooms, refused, requireRole, type StoredInvite, step, write } from "./MemoryRooms.ts"

const isUnspent = ({ expiresAt, maxUses, uses }: StoredInvite, now: number): boolean =>
  (expiresAt === undefined || expiresAt > now) && (maxUses === undefined || uses < maxUses)

/** The invite, if it admits the user now. */
const validInvite = (
  { invites, rooms }: MemoryRooms["Service"],
  { inviteId, secretHash }: InviteKey,
  roomId: string,
  user: string,
  now: number
): Result.Result<StoredInvite, InviteInvalid> => {
  const invite = invites.get(inviteId)
  const room = rooms.get(roomId)
  const maker = invite && room?.members.get(invite.createdBy)
  const isValid =
    invite?.roomId === roomId &&
    invite.secretHash === secretHash &&
    isUnspent(invite, now) &&
    maker !== undefined &&
    mayInvite(maker.role, invite.role) &&
    (room?.removed.get(user) ?? 0) <= invite.changeNumber
  return isValid ? Result.succeed(invite) : Result.fail(new InviteInvalid())
}

const iso = (ms: number): string => new Date(ms).toISOString()

const shown = ({ createdAt, createdBy, expiresAt, inviteId, maxUses, role, uses }: StoredInvite): Invite => ({
  inviteId,
  role,
  createdBy,
  createdAt: iso(createdAt),
  expiresAt: expiresAt === undefined ? null : iso(expiresAt),
  maxUses: maxUses ?? null,
  uses
})

export const layer = Layer.effect(
  InviteStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const { invites, rooms } = state
    const ofRoom = (roomId: string, createdBy: string | undefined) =>
      [...invites.values()].filter(
        (invite) => invite.roomId === roomId && (createdBy === undefined || invite.createdBy === createdBy)
      )

    return InviteStore.of({
      create: (invite, minimum, limit) =>
        step(() =>
          Result.gen(function* () {
            yield* requireRole(state, invite.roomId, invite.createdBy, minimum)
            if (invites.has(invite.inviteId)) return yield* refused(`invite ${invite.inviteId}`)
            const own = ofRoom(invite.roomId, invite.createdBy)
            if (own.length >= limit) {
              const spent = own.filter((one) => !isUnspent(one, invite.createdAt))
              if (own.length - spent.length >= limit) return yield* Result.fail(new TooManyInvites({ most: limit }))
              for (const { inviteId } of spent) invites.delete(inviteId)
            }
            const changeNumber = rooms.get(invite.roomId)?.changeNumber ?? 0
            invites.set(invite.inviteId, { ...invite, uses: 0, no: ++state.invitesMade, changeNumber })
          })
        ),
      list: (roomId, { before = Number.POSITIVE_INFINITY, createdBy, limit }) =>
        Effect.sync(() => {
          const found = ofRoom(roomId, createdBy)
            .filter(({ no }) => no < before)
            .sort((one, other) => other.no - one.no)
          return {
            items: found.slice(0, limit).map(shown),
            next: found.length > limit ? found[limit - 1]?.no : undefined
          }
        }),
      roleFor: (roomId, invite, user, now) =>
        step(() => Result.map(validInvite(state, invite, roomId, user, now), ({ role }) => role)),
      exists: (roomId, { inviteId, secretHash }) =>
        Effect.sync(() => {
          const invite = invites.get(inviteId)
          return invite !== undefined && invite.roomId === roomId && invite.secretHash === secretHash
        }),
      accept: (roomId, key, actor, now) =>
        write(state, roomId, actor, undefined, ({ members }) =>
          Result.map(validInvite(state, key, roomId, actor.user, now), (invite) => {
            const before = members.get(actor.user)
            if (before !== undefined && !isAbove(invite.role, before.role)) return new Unchanged(before)
            const joined = { user: actor.user, role: invite.role, joinedAt: before?.joinedAt ?? actor.at }
            invite.uses++
            members.set(actor.user, joined)
            return memberChange("member.joined", actor.user, joined)
          })
        ),
      revoke: (roomId, { inviteId, secretHash }, actor) =>
        step(() =>
          Result.map(requireRole(state, roomId, actor.user, "member"), ({ role }) => {
            const invite = invites.get(inviteId)
            const isTheirs = role === "owner" || invite?.createdBy === actor.user
            const isIt = secretHash === undefined || invite?.secretHash === secretHash
            if (invite?.roomId === roomId && isIt && isTheirs) invites.delete(inviteId)
          })
        )
    })
  })
)
