// Invites: how users get into a room. A token is `id.secret`, of 72 and 128 random bits; the store has the secret's
// SHA-256. Wrong tokens are counted over all instances, by invite and by address, and beyond either limit they fail
// with RateLimited. A valid token is accepted whatever was counted: 128 bits can't be guessed, and a client that
// knows a link or shares an address must not be able to lock others out. A token that was valid once does not count
// as wrong.
import { createHash } from "node:crypto"
import { Clock, Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { actorNow } from "../domain/Actor.ts"
import type { TooManyInvites } from "../domain/Invite.ts"
import type { RateLimited } from "../domain/Overload.ts"
import { Forbidden, InviteInvalid, isAbove, mayInvite, type Role } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import type { Params, Result } from "../protocol/methods/Methods.ts"
import { Settings } from "../Settings.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { type InviteKey, InviteStore } from "../storage/rooms/InviteStore.ts"
import { Access, type AccessError } from "./Access.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"

const wrongPerInvite = { name: "invites", limit: 10, window: "1 minute" } as const
const wrongPerAddress = { name: "invites", limit: 30, window: "1 minute" } as const

/** Invites of a page, unless the request has a limit. */
const usualPage = 100

const hash = (secret: string) => createHash("sha256").update(secret).digest("hex")
const text = (bytes: number) => Buffer.from(SecureRandom.randomBytesUnsafe(bytes)).toString("base64url")

const parseToken = (token: string): InviteKey | undefined => {
  const [, inviteId, secret] = /^([\w-]{12})\.([\w-]{22})$/.exec(token) ?? []
  return inviteId === undefined || secret === undefined ? undefined : { inviteId, secretHash: hash(secret) }
}

export class Invites extends Context.Service<
  Invites,
  {
    /** The token, which is shown only now. Owners invite anyone; members invite members and viewers. */
    readonly create: (
      user: string,
      roomId: string,
      options: Omit<Params<"rooms.invite">, "roomId">
    ) => Effect.Effect<string, WriteRefused | TooManyInvites>
    /** Newest first, without secrets: owners see all of the room's invites, members their own. */
    readonly list: (
      user: string,
      roomId: string,
      page: Omit<Params<"rooms.invites">, "roomId">
    ) => Effect.Effect<Result<"rooms.invites">, AccessError | Forbidden>
    /** By token or id. Owners revoke any invite, members their own. */
    readonly revoke: (
      user: string,
      roomId: string,
      which: { readonly token: string } | { readonly inviteId: string }
    ) => Effect.Effect<void, WriteRefused>
    /** Makes the bearer a member, or raises their role. Whose role (`present`) is as high already uses nothing up. */
    readonly accept: (
      user: string,
      roomId: string,
      token: string,
      address: string,
      present: Role | undefined
    ) => Effect.Effect<void, InviteInvalid | RateLimited | AccessError | WriteRefused>
  }
>()("hotpath/rooms/Invites") {
  static readonly layer = Layer.effect(
    Invites,
    Effect.gen(function* () {
      const access = yield* Access
      const limits = yield* RateLimits
      const invites = (yield* OutboxRelay).publishing(yield* InviteStore, InviteStore.writes)
      const { MAX_INVITES } = yield* Settings
      const { counter } = yield* Metrics
      const wrongTokens = counter("invites_wrong_total", "Invite tokens that were not valid")

      const failWrong = Effect.fnUntraced(function* (invite: InviteKey | undefined, address: string) {
        wrongTokens.add()
        const byInvite =
          invite === undefined ? Effect.void : limits.consume(`invite:${invite.inviteId}`, wrongPerInvite)
        const byAddress = limits.consume(`invite:address:${address}`, wrongPerAddress)
        // Both are counted, whichever is exceeded.
        yield* Effect.catch(byInvite, (exceeded) => Effect.andThen(byAddress, Effect.fail(exceeded)))
        yield* byAddress
        return yield* new InviteInvalid()
      })

      return Invites.of({
        create: Effect.fn("Invites.create")(function* (user, roomId, { expiresInMs, maxUses, role }) {
          const { session } = yield* access.require(roomId, user, "member")
          if (!mayInvite(session.role, role)) return yield* new Forbidden({ needs: "owner" })
          const inviteId = text(9)
          const secret = text(16)
          const createdAt = yield* Clock.currentTimeMillis
          const expiresAt = expiresInMs === undefined ? undefined : createdAt + expiresInMs
          const invite = {
            inviteId,
            secretHash: hash(secret),
            roomId,
            role,
            createdBy: user,
            createdAt,
            expiresAt,
            maxUses
          }
          yield* invites.create(invite, role === "owner" ? "owner" : "member", MAX_INVITES)
          return `${inviteId}.${secret}`
        }),
        list: Effect.fn("Invites.list")(function* (user, roomId, { cursor, limit = usualPage }) {
          const { session } = yield* access.require(roomId, user, "member")
          const createdBy = session.role === "owner" ? undefined : user
          const before = cursor === undefined ? undefined : Number(cursor)
          const { items, next } = yield* invites.list(roomId, { createdBy, before, limit })
          return { items, next: next === undefined ? null : String(next) }
        }),
        revoke: Effect.fn("Invites.revoke")(function* (user, roomId, which) {
          yield* access.require(roomId, user, "member")
          const invite = "token" in which ? parseToken(which.token) : which
          if (invite !== undefined) yield* invites.revoke(roomId, invite, yield* actorNow(user))
        }),
        accept: Effect.fn("Invites.accept")(function* (user, roomId, token, address, present) {
          const invite = parseToken(token)
          if (invite === undefined) return yield* failWrong(undefined, address)
          const at = yield* Clock.currentTimeMillis
          const join = Effect.flatMap(actorNow(user), (actor) => invites.accept(roomId, invite, actor, at))
          // Members use their link again and again: that must not lock the room.
          const used =
            present === undefined
              ? join
              : Effect.flatMap(invites.roleFor(roomId, invite, user, at), (role) =>
                  isAbove(role, present) ? join : Effect.void
                )
          yield* Effect.catchTag(Effect.asVoid(used), "InviteInvalid", (invalid) =>
            Effect.flatMap(invites.exists(roomId, invite), (isKnown) =>
              isKnown ? Effect.fail(invalid) : failWrong(invite, address)
            )
          )
        })
      })
    })
  )
}
