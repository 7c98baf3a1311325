// What a user is in a room: every request that names a room asks here first. The answer comes from the membership
// cache that all instances share in Redis, from this instance's memory, or from Postgres. Redis counts the changes of
// a room's memberships, and a membership counts only under the number it was read with: a removed member has no
// access on any instance as soon as the removal is acknowledged.
//
// Without Redis, a membership that was confirmed within 3 seconds counts; then Postgres is asked; without Postgres,
// what was confirmed within 5 minutes counts. While Redis lacks changes of the room (UnpublishedRooms.ts), Postgres
// is asked. A write is checked again where it takes place.
//
// Who is not a member gets another error than for an unknown room: a client has to know whether to ask for an invite.
// That gives nothing away: a room's id has 122 random bits, so who knows it was given it.
import { Cache, Clock, Context, Duration, Effect, Layer } from "effect"
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
import { makeBoundedMap } from "../infra/BoundedMap.ts"
import { Metrics } from "../observability/Metrics.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { UnpublishedRooms } from "./delivery/UnpublishedRooms.ts"

type WriterRole = Exclude<Role, "viewer">

export interface Granted {
  readonly session: Membership
  /** The room's versions that the session was read with. Undefined: Redis did not give any. */
  readonly versions: Versions | undefined
}

export type AccessError = RoomNotFound | NotAMember | StorageUnavailable

const capacity = 20_000
/** How long a write may rely on memory. Redis keeps a session for longer, so that those who only write keep theirs. */
const presumedMs = 120_000
/** How long a session needs no other confirmation while Redis is away. */
const freshMs = 3000

// A user's id holds any character: joined with one of them, two keys could be the same text.
const keyOf = (roomId: string, user: string) => JSON.stringify([roomId, user])

export class Access extends Context.Service<
  Access,
  {
    readonly member: (roomId: string, user: string) => Effect.Effect<Granted, AccessError>
    /** For what viewers may not do. */
    readonly require: (
      roomId: string,
      user: string,
      minimum: WriterRole
    ) => Effect.Effect<Granted, AccessError | Forbidden>
    /**
     * A write that relies on the membership in memory, which needs no round trip. `write` compares the versions that
     * the membership was read with in the step that writes. If memberships have changed since, it is run once more,
     * after the membership was read again.
     */
    readonly presuming: <A, E>(
      roomId: string,
      user: string,
      minimum: WriterRole,
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
      const clock = yield* Clock.Clock
      const remembered = makeBoundedMap<Granted & { readonly confirmedAt: number }>(capacity)

      const remember = (roomId: string, user: string, session: Membership, versions?: Versions): Granted => {
        const granted = { session, versions, confirmedAt: clock.currentTimeMillisUnsafe() }
        remembered.set(keyOf(roomId, user), granted)
        return granted
      }
      /** What was confirmed within this time. */
      const recall = (roomId: string, user: string, withinMs: number): Granted | undefined => {
        const known = remembered.get(keyOf(roomId, user))
        const isRecent = known !== undefined && clock.currentTimeMillisUnsafe() - known.confirmedAt < withinMs
        return isRecent ? known : undefined
      }

      const fromStore = ({ roomId, user }: { readonly roomId: string; readonly user: string }) =>
        members.get(roomId, user).pipe(
          Effect.map(({ joinedAt, role }): Membership => {
            metrics.postgresHit.add()
            return { joinedAt, role }
          }),
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

      const throughCache = Effect.fnUntraced(function* (roomId: string, user: string) {
        const { membership, versions } = yield* cache.read(roomId, user)
        if (membership !== undefined) {
          metrics.redisHit.add()
          return remember(roomId, user, membership, versions)
        }
        metrics.redisMiss.add()
        const known = recall(roomId, user, membershipMs)
        const isSame = known?.versions?.epoch === versions?.epoch && known?.versions?.people === versions?.people
        const valid = versions !== undefined && isSame ? known?.session : undefined
        ;(valid === undefined ? metrics.memoryMiss : metrics.memoryHit).add()
        // Without versions nothing says whether a read that is under way is recent enough.
        const read =
          versions === undefined
            ? fromStore({ roomId, user })
            : Cache.get(reads, { roomId, user, epoch: versions.epoch, people: versions.people })
        const session = valid ?? (yield* read)
        yield* Effect.ignore(cache.write(roomId, user, session, versions))
        return remember(roomId, user, session, versions)
      })

      /** Redis is away, or behind. `freshMs`: how long what was confirmed needs no other confirmation. */
      const withoutCache = Effect.fnUntraced(function* (roomId: string, user: string, freshMs: number) {
        metrics.redisError.add()
        const fresh = recall(roomId, user, freshMs)
        if (fresh !== undefined) {
          metrics.memoryHit.add()
          return { session: fresh.session, versions: undefined }
        }
        return yield* fromStore({ roomId, user }).pipe(
          Effect.map((session) => remember(roomId, user, session)),
          Effect.catchTag("StorageUnavailable", (error) => {
            const stale = recall(roomId, user, membershipMs)
            if (stale === undefined) return Effect.fail(error)
            metrics.memoryStale.add()
            return Effect.succeed({ session: stale.session, versions: undefined })
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
        Effect.suspend(() => {
          const known = recall(roomId, user, presumedMs)
          const isPresumed =
            known?.versions !== undefined && isAtLeast(known.session.role, minimum) && !unpublished.has(roomId)
          return isPresumed ? Effect.succeed(known) : require(roomId, user, minimum)
        })

      const ifUnsure = <A, E>(write: Effect.Effect<A, E | MembershipUnsure>, otherwise: () => Effect.Effect<A, E>) =>
        Effect.catch(write, (error) => (error instanceof MembershipUnsure ? otherwise() : Effect.fail(error)))
      const keepsChanging = () => Effect.fail(new StorageUnavailable({ reason: "memberships kept changing" }))

      return Access.of({
        member,
        require,
        presuming: <A, E>(
          roomId: string,
          user: string,
          minimum: WriterRole,
          write: (seen: Versions | undefined) => Effect.Effect<A, E | MembershipUnsure>
        ) =>
          ifUnsure<A, E | AccessError | Forbidden>(
            Effect.flatMap(presume(roomId, user, minimum), ({ versions }) => write(versions)),
            () =>
              Effect.flatMap(require(roomId, user, minimum), () =>
                ifUnsure<A, E | StorageUnavailable>(write(undefined), keepsChanging)
              )
          )
      })
    })
  )
}
