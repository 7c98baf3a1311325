// What a user is in a room: every request that names a room asks here first. The answer comes from the membership
// cache that all instances share in Redis, from this instance's memory, or from Postgres. Redis counts the changes of
// a room's memberships, and a membership counts only under the number it was read with: a removed member has no
// access on any instance as soon as the removal is acknowledged.
//
// Without Redis, a membership that was confirmed within 3 seconds counts; then Postgres is asked; without Postgres,
// what was confirmed within 5 minutes counts. While Redis lacks changes of the room (UnpublishedRooms.ts), Postgres
// is asked. A write is checked again where it takes place.
//
// A user who is not a member gets another error than for an unknown room, as a client has to know whether to ask for
// an invite. That gives nothing away: a room's id has 122 random bits, so who knows it was given it.
import { Cache, Clock, Context, Duration, Effect, Layer } from "effect"
import { LRUCache } from "lru-cache"
import { type Membership, MembershipCache, membershipMs } from "../cluster/rooms/MembershipCache.ts"
import type { Versions } from "../cluster/rooms/RoomBus.ts"
import { isUuid } from "../domain/Ids.ts"
import {
  Forbidden,
  isAtLeast,
  MembershipUnsure,
  type NotAMember,
  type Role,
  RoomNotFound,
  StorageUnavailable
} from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { UnpublishedRooms } from "./delivery/UnpublishedRooms.ts"

export interface Granted {
  readonly session: Membership
  /** The room's versions that the session was read with. Undefined: Redis did not give any. */
  readonly versions: Versions | undefined
}

export type AccessError = RoomNotFound | NotAMember | StorageUnavailable

interface Remembered extends Granted {
  /** Milliseconds since the epoch. */
  readonly confirmedAt: number
}

const capacity = 20_000
/**
 * How long a write may rely on memory. Shorter than Redis keeps a session, so that sessions of users who only write
 * last.
 */
const presumedMs = 120_000
/** How long a session needs no other confirmation while Redis is away. */
const freshMs = 3000

// A user's id holds any character: joined with one of them, two keys could be the same text.
const keyOf = (roomId: string, user: string) => JSON.stringify([roomId, user])

const isSameVersion = (one: Versions | undefined, other: Versions | undefined) =>
  one !== undefined && one.epoch === other?.epoch && one.people === other.people

export class Access extends Context.Service<
  Access,
  {
    readonly member: (roomId: string, user: string) => Effect.Effect<Granted, AccessError>
    /** For what viewers may not do. */
    readonly require: (
      roomId: string,
      user: string,
      minimum: Exclude<Role, "viewer">
    ) => Effect.Effect<Granted, AccessError | Forbidden>
    /**
     * A write that relies on the membership in memory, and so needs no round trip for it. `write` is given the
     * versions that the membership was read with, and compares them in the step that writes. If memberships have
     * changed since, it is run once more, after the membership was read again.
     */
    readonly presuming: <A, E>(
      roomId: string,
      user: string,
      minimum: Exclude<Role, "viewer">,
      write: (seen: Versions | undefined) => Effect.Effect<A, E | MembershipUnsure>
    ) => Effect.Effect<A, E | AccessError | Forbidden>
  }
>()("hotpath/rooms/Access") {
  static readonly layer = Layer.effect(
    Access,
    Effect.gen(function* () {
      const cache = yield* MembershipCache
      const members = yield* MemberStore
      const unpublished = yield* UnpublishedRooms
      const metrics = (yield* Metrics).cache.session
      const remembered = new LRUCache<string, Remembered>({ max: capacity })

      const fromStore = ({ roomId, user }: { readonly roomId: string; readonly user: string }) =>
        members.get(roomId, user).pipe(
          Effect.map(({ joinedAt, role }): Membership => ({ joinedAt, role })),
          Effect.tap(() => Effect.sync(() => metrics.postgresHit.add())),
          Effect.tapError((error) =>
            Effect.sync(() =>
              (error._tag === "StorageUnavailable" ? metrics.postgresError : metrics.postgresMiss).add()
            )
          )
        )

      // Those who ask for the same under the same versions at the same time share one read.
      const reads = yield* Cache.makeWith(
        (key: { readonly roomId: string; readonly user: string; readonly epoch: string; readonly people: number }) =>
          fromStore(key),
        { capacity, timeToLive: () => Duration.zero }
      )

      // Without versions nothing says whether a read that is under way is recent enough.
      const readOnce = (roomId: string, user: string, versions: Versions | undefined) =>
        versions === undefined
          ? fromStore({ roomId, user })
          : Cache.get(reads, { roomId, user, epoch: versions.epoch, people: versions.people })

      const remember = (roomId: string, user: string, session: Membership, versions?: Versions) =>
        Effect.map(Clock.currentTimeMillis, (now): Granted => {
          const granted: Remembered = { session, versions, confirmedAt: now }
          remembered.set(keyOf(roomId, user), granted)
          return granted
        })
      const recall = (roomId: string, user: string) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const known = remembered.get(keyOf(roomId, user))
          return { known, ageMs: known === undefined ? Number.POSITIVE_INFINITY : now - known.confirmedAt }
        })

      const throughCache = Effect.fnUntraced(function* (roomId: string, user: string) {
        const { membership: session, versions } = yield* cache.read(roomId, user)
        if (session !== undefined) {
          metrics.redisHit.add()
          return yield* remember(roomId, user, session, versions)
        }
        metrics.redisMiss.add()
        const { ageMs, known } = yield* recall(roomId, user)
        const isKnown = isSameVersion(versions, known?.versions) && ageMs < membershipMs
        ;(isKnown ? metrics.memoryHit : metrics.memoryMiss).add()
        const found = known !== undefined && isKnown ? known.session : yield* readOnce(roomId, user, versions)
        yield* Effect.ignore(cache.write(roomId, user, found, versions))
        return yield* remember(roomId, user, found, versions)
      })

      /** Redis is away, or behind. `freshMs`: how long what was confirmed needs no other confirmation. */
      const withoutCache = Effect.fnUntraced(function* (roomId: string, user: string, freshMs: number) {
        metrics.redisError.add()
        const { ageMs, known } = yield* recall(roomId, user)
        if (known !== undefined && ageMs < freshMs) {
          metrics.memoryHit.add()
          return { session: known.session, versions: undefined }
        }
        return yield* fromStore({ roomId, user }).pipe(
          Effect.flatMap((session) => remember(roomId, user, session)),
          Effect.catchTag("StorageUnavailable", (error) => {
            if (known === undefined || ageMs >= membershipMs) return Effect.fail(error)
            metrics.memoryStale.add()
            return Effect.succeed({ session: known.session, versions: undefined })
          })
        )
      })

      const member: Access["Service"]["member"] = (roomId, user) =>
        Effect.suspend(() => {
          // What is no id of ours is not found, and gets no further.
          if (!isUuid(roomId)) return Effect.fail(new RoomNotFound())
          return unpublished.has(roomId)
            ? withoutCache(roomId, user, 0)
            : Effect.catchTag(throughCache(roomId, user), "BusUnavailable", () => withoutCache(roomId, user, freshMs))
        })

      const require: Access["Service"]["require"] = (roomId, user, minimum) =>
        Effect.flatMap(member(roomId, user), (granted) =>
          isAtLeast(granted.session.role, minimum)
            ? Effect.succeed(granted)
            : Effect.fail(new Forbidden({ needs: minimum }))
        )

      const presume: Access["Service"]["require"] = (roomId, user, minimum) =>
        Effect.clockWith((clock) => {
          const known = remembered.get(keyOf(roomId, user))
          const isPresumed =
            known?.versions !== undefined &&
            clock.currentTimeMillisUnsafe() - known.confirmedAt < presumedMs &&
            isAtLeast(known.session.role, minimum) &&
            !unpublished.has(roomId)
          return isPresumed ? Effect.succeed(known) : require(roomId, user, minimum)
        })

      const presuming = <A, E>(
        roomId: string,
        user: string,
        minimum: Exclude<Role, "viewer">,
        write: (seen: Versions | undefined) => Effect.Effect<A, E | MembershipUnsure>
      ) => {
        const unlessUnsure = <E2>(first: Effect.Effect<A, E2 | MembershipUnsure>, second: Effect.Effect<A, E2>) =>
          Effect.catch(first, (error) => (error instanceof MembershipUnsure ? second : Effect.fail(error)))
        const again: Effect.Effect<A, E | AccessError | Forbidden> = Effect.flatMap(
          require(roomId, user, minimum),
          () =>
            unlessUnsure<E | StorageUnavailable>(
              write(undefined),
              Effect.fail(new StorageUnavailable({ reason: "memberships kept changing" }))
            )
        )
        return unlessUnsure(
          Effect.flatMap(presume(roomId, user, minimum), ({ versions }) => write(versions)),
          again
        )
      }

      return Access.of({ member, require, presuming })
    })
  )
}
