// What access rests on: the store, the memory, and the versions that say whether the memory still counts.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type Membership, MembershipCache } from "../../src/cluster/rooms/MembershipCache.ts"
import { BusUnavailable, type Versions } from "../../src/cluster/rooms/RoomBus.ts"
import { MembershipUnsure, StorageUnavailable } from "../../src/domain/Room.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Access } from "../../src/rooms/Access.ts"
import { UnpublishedRooms } from "../../src/rooms/delivery/UnpublishedRooms.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"

const roomId = randomUUID()

/** A world with one room and one member, whose stores count what they are asked. */
const makeWorld = () => {
  const world = {
    reads: 0,
    cacheReads: 0,
    written: undefined as Membership | undefined,
    versions: { epoch: "e", people: 1, messages: 0, threads: 0 } as Versions | undefined,
    role: "member" as "member" | "viewer",
    isRedisAway: false,
    isPostgresAway: false
  }
  const members: Partial<MemberStore["Service"]> = {
    get: (_roomId, user) =>
      Effect.suspend(() => {
        if (world.isPostgresAway) return Effect.fail(new StorageUnavailable({ reason: "away" }))
        world.reads++
        return Effect.succeed({ user, role: world.role, joinedAt: "" })
      })
  }
  const layer = Access.layer.pipe(
    Layer.provide(Layer.mock(MemberStore, members)),
    Layer.provide(
      Layer.succeed(MembershipCache, {
        read: () =>
          Effect.suspend(() => {
            if (world.isRedisAway) return Effect.fail(new BusUnavailable({ cause: "away" }))
            world.cacheReads++
            return Effect.succeed({ versions: world.versions, membership: undefined })
          }),
        write: (_roomId, _user, membership) =>
          Effect.sync(() => {
            world.written = membership
          })
      })
    ),
    Layer.provide([UnpublishedRooms.layerMemory, Metrics.layer])
  )
  return { world, layer }
}

/** Runs the test over a world of its own. */
const over = <A, E>(run: (world: ReturnType<typeof makeWorld>["world"]) => Effect.Effect<A, E, Access>) =>
  Effect.suspend(() => {
    const { layer, world } = makeWorld()
    return Effect.provide(run(world), layer)
  })

describe("Access", () => {
  it.effect("reads a membership once a version, and tells the shared cache each time that it lacks it", () =>
    over(
      Effect.fnUntraced(function* (world) {
        const { member } = yield* Access
        yield* Effect.all(
          Array.from({ length: 5 }, () => member(roomId, "ann")),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(world.reads, 1)
        world.written = undefined
        yield* member(roomId, "ann")
        assert.strictEqual(world.reads, 1)
        assert.isDefined(world.written)
        world.versions = { epoch: "e", people: 2, messages: 0, threads: 0 }
        yield* member(roomId, "ann")
        assert.strictEqual(world.reads, 2)
        // Without versions nothing says whether it still holds.
        world.versions = undefined
        yield* member(roomId, "ann")
        yield* member(roomId, "ann")
        assert.strictEqual(world.reads, 4)
      })
    )
  )

  it.effect("knows no room by what is not its id, and asks nobody", () =>
    over(
      Effect.fnUntraced(function* (world) {
        const { _tag } = yield* Effect.flip((yield* Access).member("x", "ann"))
        assert.strictEqual(_tag, "RoomNotFound")
        assert.strictEqual(world.cacheReads, 0)
      })
    )
  )

  it.effect("asks for a role at least as high", () =>
    over(
      Effect.fnUntraced(function* (world) {
        const { require } = yield* Access
        yield* require(roomId, "ann", "member")
        const refused = yield* Effect.flip(require(roomId, "ann", "owner"))
        assert.deepInclude(refused, { _tag: "Forbidden", needs: "owner" })
        world.role = "viewer"
        const viewer = yield* Effect.flip(require(roomId, "vic", "member"))
        assert.deepInclude(viewer, { _tag: "Forbidden", needs: "member" })
      })
    )
  )

  it.effect("goes on from memory for a while, with Redis and Postgres away", () =>
    over(
      Effect.fnUntraced(function* (world) {
        const { member } = yield* Access
        yield* member(roomId, "ann")
        world.isRedisAway = true
        world.isPostgresAway = true
        assert.strictEqual((yield* member(roomId, "ann")).session.role, "member")
        assert.strictEqual((yield* Effect.flip(member(roomId, "bob")))._tag, "StorageUnavailable")
      })
    )
  )

  it.effect("presumes: a write needs no round trip for its membership, and is run again if that changed", () =>
    over(
      Effect.fnUntraced(function* (world) {
        const { member, presuming } = yield* Access
        yield* member(roomId, "ann")
        const asked = world.cacheReads
        const seen: Array<Versions | undefined> = []
        const write = (fails: number) => (versions: Versions | undefined) =>
          Effect.suspend(() => {
            seen.push(versions)
            return seen.length <= fails ? Effect.fail(new MembershipUnsure()) : Effect.succeed("written")
          })
        assert.strictEqual(yield* presuming(roomId, "ann", "member", write(0)), "written")
        assert.deepEqual(seen.splice(0), [world.versions])
        assert.strictEqual(world.cacheReads, asked)
        assert.strictEqual(yield* presuming(roomId, "ann", "member", write(1)), "written")
        assert.deepEqual(seen.splice(0), [world.versions, undefined])
        assert.strictEqual(world.cacheReads, asked + 1)
        const failed = yield* Effect.flip(presuming(roomId, "ann", "member", write(2)))
        assert.strictEqual(failed._tag, "StorageUnavailable")
        assert.lengthOf(seen.splice(0), 2)
        assert.strictEqual((yield* Effect.flip(presuming(roomId, "ann", "owner", write(0))))._tag, "Forbidden")
        assert.lengthOf(seen, 0)
      })
    )
  )
})
