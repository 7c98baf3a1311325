// The way into a room. A token is `id.secret`, 72 and 128 random bits; what is kept of the secret is its SHA-256. Wrong
// guesses are counted over all instances, by invite and by address: whoever made too many waits, right or not.
import { createHash } from "node:crypto"
import { Clock, Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { RateLimits } from "../cluster/RateLimits.ts"
import type { RateLimited } from "../domain/Limits.ts"
import { Forbidden, InviteInvalid, mayInvite, type Participant, type Role, writers } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { type InviteKey, Repository, type WriteRefused } from "../storage/Repository.ts"
import { Access, type AccessError } from "./Access.ts"
import { Announcer } from "./Announcer.ts"
import { by } from "./By.ts"

const wrongPerInvite = { limit: 10, window: "1 minute" } as const
const wrongPerAddress = { limit: 30, window: "1 minute" } as const

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
    /** Makes the bearer a member, or more than they were; a member who has nothing to gain uses none up. */
    readonly accept: (
      user: string,
      roomId: string,
      token: string,
      address: string
    ) => Effect.Effect<Participant, InviteInvalid | RateLimited | AccessError | WriteRefused>
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

      /** Fails with RateLimited for whoever guessed too often, and counts what turns out to be wrong. */
      const guarded = <A, E>(invite: InviteKey | undefined, address: string, use: Effect.Effect<A, E>) => {
        const rules = [
          [`invite:address:${address}`, wrongPerAddress],
          ...(invite === undefined ? [] : [[`invite:${invite.inviteId}`, wrongPerInvite] as const])
        ] as const
        const count = Effect.forEach(rules, ([key, rule]) => Effect.ignore(limits.consume(key, rule)), {
          discard: true
        })
        return Effect.forEach(rules, ([key, rule]) => limits.check(key, rule), { discard: true }).pipe(
          Effect.andThen(use),
          Effect.tapError((error) => {
            if (!(error instanceof InviteInvalid)) return Effect.void
            wrong.add()
            return count
          })
        )
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
        accept: Effect.fn("Invites.accept")(function* (user, roomId, token, address) {
          const invite = parseToken(token)
          const join = Effect.gen(function* () {
            if (invite === undefined) return yield* new InviteInvalid()
            const at = yield* Clock.currentTimeMillis
            return yield* announced(repository.join(roomId, invite, yield* by(user), at))
          })
          return yield* guarded(invite, address, join)
        })
      })
    })
  )
}
