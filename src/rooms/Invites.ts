// The way into a room. A token is `id.secret`, 72 and 128 random bits; what is kept of the secret is its SHA-256. Guesses are
// counted over all instances, by invite and by address. Too many at one invite, and it answers nobody for a while, right or
// not. Too many from one address, and a wrong one is not even called wrong; a right one is let in, for the address may be a
// whole building's, or a load balancer's. A token that was good once is no guess.
import { createHash } from "node:crypto"
import { Clock, Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { RateLimits } from "../cluster/RateLimits.ts"
import type { RateLimited } from "../domain/Limits.ts"
import { Forbidden, InviteInvalid, isAbove, mayInvite, type Role, writers } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { type InviteKey, Repository, type WriteRefused } from "../storage/Repository.ts"
import { Access, type AccessError } from "./Access.ts"
import { Announcer } from "./Announcer.ts"
import { by } from "./By.ts"
import { makeTurns } from "./Turns.ts"

const wrongPerInvite = { name: "invites", limit: 10, window: "1 minute" } as const
const wrongPerAddress = { name: "invites", limit: 30, window: "1 minute" } as const

const hash = (secret: string) => createHash("sha256").update(secret).digest("hex")
const text = (bytes: number) => Buffer.from(SecureRandom.randomBytesUnsafe(bytes)).toString("base64url")

const parseToken = (token: string): InviteKey | undefined => {
  const [, inviteId, secret] = /^([\w-]{12})\.([\w-]{22})$/.exec(token) ?? []
  return inviteId === undefined || secret === undefined ? undefined : { inviteId, secretHash: hash(secret) }
}

export interface InviteOptions {
  readonly role: Role
  readonly expiresInMs?: number | undefined
  readonly maxUses?: number | undefined
}

export class Invites extends Context.Service<
  Invites,
  {
    /** The token, which nobody will see again. Owners invite anyone, members members and viewers. */
    readonly create: (user: string, roomId: string, options: InviteOptions) => Effect.Effect<string, WriteRefused>
    /** Owners revoke any, members their own. */
    readonly revoke: (user: string, roomId: string, token: string) => Effect.Effect<void, WriteRefused>
    /** Makes the bearer a member, or more than they are (`held`); who has nothing to gain by it uses none up. */
    readonly accept: (
      user: string,
      roomId: string,
      token: string,
      address: string,
      held: Role | undefined
    ) => Effect.Effect<void, InviteInvalid | RateLimited | AccessError | WriteRefused>
  }
>()("hotpath/rooms/Invites") {
  static readonly layer = Layer.effect(
    Invites,
    Effect.gen(function* () {
      const repository = yield* Repository
      const access = yield* Access
      const limits = yield* RateLimits
      const { announced } = yield* Announcer
      const { counter } = yield* Metrics
      const wrong = counter("invites_wrong_total", "Invite tokens that were not good")

      // One after the other by invite, so that guesses made at once are counted as they are looked at.
      const turns = makeTurns()

      const guessed = (invite: InviteKey | undefined, address: string) => {
        wrong.add()
        const byInvite =
          invite === undefined ? Effect.void : limits.consume(`invite:${invite.inviteId}`, wrongPerInvite)
        return Effect.andThen(
          Effect.ignore(byInvite),
          limits.consume(`invite:address:${address}`, wrongPerAddress)
        ).pipe(Effect.andThen(Effect.fail(new InviteInvalid())))
      }

      return Invites.of({
        create: Effect.fn("Invites.create")(function* (user, roomId, { expiresInMs, maxUses, role }) {
          const { session } = yield* access.require(roomId, user, writers)
          if (!mayInvite(session.role, role)) return yield* new Forbidden({ needs: "owner" })
          const inviteId = text(9)
          const secret = text(16)
          yield* repository.createInvite(
            {
              inviteId,
              secretHash: hash(secret),
              roomId,
              role,
              createdBy: user,
              expiresAt: expiresInMs === undefined ? undefined : (yield* Clock.currentTimeMillis) + expiresInMs,
              maxUses
            },
            role === "owner" ? ["owner"] : writers
          )
          return `${inviteId}.${secret}`
        }),
        revoke: Effect.fn("Invites.revoke")(function* (user, roomId, token) {
          yield* access.require(roomId, user, writers)
          const invite = parseToken(token)
          if (invite !== undefined) yield* repository.revokeInvite(roomId, invite, yield* by(user))
        }),
        accept: Effect.fn("Invites.accept")(function* (user, roomId, token, address, held) {
          const invite = parseToken(token)
          if (invite === undefined) return yield* guessed(undefined, address)
          const attempt = Effect.gen(function* () {
            yield* limits.check(`invite:${invite.inviteId}`, wrongPerInvite)
            const at = yield* Clock.currentTimeMillis
            const join = Effect.flatMap(by(user), (author) => announced(repository.join(roomId, invite, author, at)))
            // Members come with their link again and again: that is no reason to lock the room.
            const used =
              held === undefined
                ? join
                : Effect.flatMap(repository.invitedAs(roomId, invite, at), (role) =>
                    isAbove(role, held) ? join : Effect.void
                  )
            yield* Effect.catchTag(Effect.asVoid(used), "InviteInvalid", (invalid) =>
              Effect.flatMap(repository.isInvite(roomId, invite), (isKnown) =>
                isKnown ? Effect.fail(invalid) : guessed(invite, address)
              )
            )
          })
          return yield* turns(invite.inviteId, attempt)
        })
      })
    })
  )
}
