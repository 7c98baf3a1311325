// What somebody is in a room, asked for by every method: the session that all instances share, in Redis; this instance's own
// memory; the repository. Redis says up to when people came and went, and a session is good as long as that is the same, so
// whoever was removed has none, anywhere, as soon as the removal was acknowledged.
//
// Without Redis, what was confirmed a few seconds ago counts; then the repository; without that as well, what was known
// within the last five minutes. While Redis lacks changes of the room, the repository is asked. A write is checked again
// where it takes place.
//
// Every request that names a room comes by here first: what is no id of a room is not found, and gets no further.
//
// Somebody who is no member is told apart from a room that is not there: a client has to know whether to ask for an invite. It
// gives nothing away that could be found by trying, for a room's id is 122 random bits: who has one was given it.
import { Cache, Clock, Context, Duration, Effect, Exit, Layer, Schema } from "effect"
import {
  MembershipCache,
  type Membership as Session,
  membershipMs as sessionMs
} from "../cluster/rooms/MembershipCache.ts"
import type { Versions } from "../cluster/rooms/RoomBus.ts"
import { isUuid } from "../domain/Ids.ts"
import { Forbidden, type NotAMember, type Role, RoomNotFound, type StorageUnavailable } from "../domain/Room.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Repository } from "../storage/rooms/Repository.ts"
import { UnpublishedRooms } from "./delivery/UnpublishedRooms.ts"

export interface Granted {
  readonly session: Session
  /** Undefined: Redis can't say. */
  readonly versions: Versions | undefined
}

export type AccessError = RoomNotFound | NotAMember | StorageUnavailable

interface Remembered {
  readonly session: Session
  readonly versions: Versions | undefined
  readonly confirmedAt: number
}

const capacity = 20_000
/** How long a session is presumed: shorter than Redis keeps it, so that those who only write keep it too. */
const presumedMs = 120_000
/** Without Redis, how long a session needs no other confirmation. */
const freshMs = 3000

// Ids of users hold any character: joined with one of them, two keys could be the same text.
const keyOf = (roomId: string, user: string) => JSON.stringify([roomId, user])
const Read = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.Finite, Schema.String]))
const decodeRead = Schema.decodeSync(Read)
const readKey = (roomId: string, user: string, versions: Versions | undefined) =>
  JSON.stringify([roomId, versions?.epoch ?? "", versions?.people ?? 0, user])

export class Access extends Context.Service<
  Access,
  {
    readonly session: (roomId: string, user: string) => Effect.Effect<Granted, AccessError>
    readonly require: (
      roomId: string,
      user: string,
      allowed: ReadonlyArray<Role>
    ) => Effect.Effect<Granted, AccessError | Forbidden>
    /** As last seen, for a write that says under which versions that was: where it takes place that is compared. */
    readonly presume: (
      roomId: string,
      user: string,
      allowed: ReadonlyArray<Role>
    ) => Effect.Effect<Granted, AccessError | Forbidden>
  }
>()("hotpath/rooms/Access") {
  static readonly layer = Layer.effect(
    Access,
    Effect.gen(function* () {
      const sessions = yield* MembershipCache
      const untold = yield* UnpublishedRooms
      const repository = yield* Repository
      const metrics = (yield* Metrics).cache.session
      const remembered = new Map<string, Remembered>()

      const fromRepository = (roomId: string, user: string) =>
        repository.member(roomId, user).pipe(
          Effect.map(({ joinedAt, role }): Session => ({ joinedAt, role })),
          Effect.tap(() => Effect.sync(() => metrics.postgresHit.add())),
          Effect.tapError((error) =>
            Effect.sync(() =>
              (error._tag === "StorageUnavailable" ? metrics.postgresError : metrics.postgresMiss).add()
            )
          )
        )

      // By room, version and user, so that what is read under one version is never given out under another; those who ask
      // for the same at the same time share one read.
      const read = yield* Cache.makeWith(
        (key: string) => {
          const [roomId, , , user] = decodeRead(key)
          return fromRepository(roomId, user)
        },
        {
          capacity,
          timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.millis(sessionMs) : Duration.zero)
        }
      )

      const remember = (roomId: string, user: string, session: Session, versions?: Versions) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const key = keyOf(roomId, user)
          remembered.delete(key)
          remembered.set(key, { session, versions, confirmedAt: now })
          const [oldest] = remembered.keys()
          if (remembered.size > capacity && oldest !== undefined) remembered.delete(oldest)
          return session
        })

      const shared = Effect.fnUntraced(function* (roomId: string, user: string) {
        const { membership: session, versions } = yield* sessions.read(roomId, user)
        if (session !== undefined) {
          metrics.redisHit.add()
          return { session: yield* remember(roomId, user, session, versions), versions }
        }
        metrics.redisMiss.add()
        const key = readKey(roomId, user, versions)
        // Without a version nothing says whether what is remembered still holds.
        if (versions === undefined) yield* Cache.invalidate(read, key)
        const isKnown = versions !== undefined && (yield* Cache.has(read, key))
        ;(isKnown ? metrics.memoryHit : metrics.memoryMiss).add()
        const found = yield* Cache.get(read, key)
        yield* Effect.ignore(sessions.write(roomId, user, found, versions))
        return { session: yield* remember(roomId, user, found, versions), versions }
      })

      /** `freshMs`: how long what was confirmed needs no other confirmation. */
      const alone = Effect.fnUntraced(function* (roomId: string, user: string, freshMs: number) {
        metrics.redisError.add()
        const known = remembered.get(keyOf(roomId, user))
        const age =
          known === undefined ? Number.POSITIVE_INFINITY : (yield* Clock.currentTimeMillis) - known.confirmedAt
        if (known !== undefined && age < freshMs) {
          metrics.memoryHit.add()
          return { session: known.session, versions: undefined }
        }
        return yield* fromRepository(roomId, user).pipe(
          Effect.flatMap((session) => remember(roomId, user, session)),
          Effect.catchTag("StorageUnavailable", (error) => {
            if (known === undefined || age >= sessionMs) return Effect.fail(error)
            metrics.memoryStale.add()
            return Effect.succeed(known.session)
          }),
          Effect.map((session) => ({ session, versions: undefined }))
        )
      })

      const session: Access["Service"]["session"] = (roomId, user) =>
        Effect.suspend(() => {
          if (!isUuid(roomId)) return Effect.fail(new RoomNotFound())
          return untold.has(roomId)
            ? alone(roomId, user, 0)
            : Effect.catchTag(shared(roomId, user), "BusUnavailable", () => alone(roomId, user, freshMs))
        })

      const require: Access["Service"]["require"] = (roomId, user, allowed) =>
        Effect.flatMap(session(roomId, user), (granted) =>
          allowed.includes(granted.session.role)
            ? Effect.succeed(granted)
            : Effect.fail(new Forbidden({ needs: allowed.at(-1) ?? "owner" }))
        )

      return Access.of({
        session,
        require,
        presume: (roomId, user, allowed) =>
          Effect.clockWith((clock) => {
            const known = remembered.get(keyOf(roomId, user))
            const isPresumed =
              known?.versions !== undefined &&
              clock.currentTimeMillisUnsafe() - known.confirmedAt < presumedMs &&
              allowed.includes(known.session.role) &&
              !untold.has(roomId)
            return isPresumed ? Effect.succeed(known) : require(roomId, user, allowed)
          })
      })
    })
  )
}
