// Stores in memory, of two instances over one state: what one writes the other reads.
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Option } from "effect"
import { CatalogRedis, CatalogRedisState } from "../../src/catalog/CatalogRedis.ts"
import { makeRecordIds } from "../../src/domain/Ids.ts"
import { WriterLeasesState } from "../../src/storage/buffer/memory/WriterLeasesState.ts"
import { WriterLeases } from "../../src/storage/buffer/WriterLeases.ts"
import { DeadLetters, DeadLettersState } from "../../src/storage/DeadLetters.ts"
import { LockFences, LockFencesState } from "../../src/storage/LockFences.ts"
import { RecordStore, RecordStoreState } from "../../src/storage/records/RecordStore.ts"
import { MemoryRooms } from "../../src/storage/rooms/memory/MemoryRooms.ts"
import * as StoresMemory from "../../src/storage/rooms/memory/StoresMemory.ts"
import { RoomPurge } from "../../src/storage/rooms/RoomPurge.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { callRecord } from "../support/CallRecords.ts"
import { at, id, tagOf } from "../support/RoomStores.ts"

const makeRecordId = makeRecordIds()

const States = Layer.mergeAll(
  CatalogRedisState.layer,
  DeadLettersState.layer,
  LockFencesState.layer,
  MemoryRooms.layer,
  RecordStoreState.layer,
  WriterLeasesState.layer
)
const instance = Layer.build(
  Layer.fresh(
    Layer.mergeAll(
      CatalogRedis.layerShared,
      DeadLetters.layerShared,
      LockFences.layerShared,
      RecordStore.layerShared,
      StoresMemory.layerShared,
      WriterLeases.layerShared
    )
  )
)

const two = <A, E, R, I, S>(service: Context.Key<I, S>, test: (a: S, b: S) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const [a, b] = [yield* instance, yield* instance]
    return yield* test(Context.getUnsafe(a, service), Context.getUnsafe(b, service))
  }).pipe(Effect.scoped, Effect.provide(States))

const record = callRecord(makeRecordId(1_700_000_000_000))

describe("two instances over one memory", () => {
  it.effect("records", () =>
    two(RecordStore, (a, b) =>
      Effect.gen(function* () {
        yield* a.insert([record])
        yield* b.insert([record])
        assert.deepEqual(yield* b.present([record.recordId, "x"]), [record.recordId])
        assert.lengthOf(yield* b.list({ limit: 10 }), 1)
        assert.strictEqual(yield* b.rotatePartitions(undefined), 0)
      })
    )
  )

  it.effect("dead letters", () =>
    two(DeadLetters, (a, b) =>
      Effect.gen(function* () {
        yield* a.add("one", "te\0xt", "why")
        yield* b.add("one", "again", "why")
        assert.deepInclude(yield* b.get("one"), { text: "text", diedAt: "1970-01-01T00:00:00.000Z" })
        yield* b.remove("one")
        assert.deepEqual(yield* a.list(undefined, 10), [])
      })
    )
  )

  it.effect("copies of the catalog", () =>
    two(CatalogRedis, (a, b) =>
      Effect.gen(function* () {
        yield* a.write("config", "ann", { version: 2, value: Option.some({}) })
        assert.isFalse(yield* b.write("config", "ann", { version: 1, value: Option.none() }))
        assert.deepEqual(yield* b.read("config", "ann"), Option.some({ version: 2, value: Option.some({}) }))
      })
    )
  )

  it.effect("fences", () =>
    two(LockFences, (a, b) =>
      Effect.gen(function* () {
        yield* a.check("purge", 2)
        assert.strictEqual(yield* tagOf(b.check("purge", 1)), "Fenced")
        yield* b.check("purge", 2)
      })
    )
  )

  it.effect("rooms", () =>
    two(RoomStore, (a, b) =>
      Effect.gen(function* () {
        const roomId = id()
        yield* a.create({ roomId, title: "a room", owner: "ann", autoAssign: false, createdAt: at() })
        assert.strictEqual((yield* b.get(roomId)).room.title, "a room")
        yield* b.advanceEpoch(roomId)
        assert.strictEqual((yield* a.get(roomId)).epochCounter, 1)
      })
    )
  )

  it.effect("a purge by an older holder of the lock", () =>
    two(RoomPurge, (a, b) =>
      Effect.gen(function* () {
        yield* a.purge({ name: "purge", fence: 2 }, 10)
        assert.strictEqual(yield* tagOf(b.purge({ name: "purge", fence: 1 }, 10)), "Fenced")
      })
    )
  )

  it.effect("no lease begins while a direct write is under way", () =>
    two(WriterLeases, (a, b) =>
      Effect.gen(function* () {
        const [began, mayEnd] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const write = a.bypass(Effect.andThen(Deferred.succeed(began, undefined), Deferred.await(mayEnd)))
        const writing = yield* Effect.forkChild(write)
        yield* Deferred.await(began)
        // Direct writes do not wait for each other.
        yield* b.bypass(Effect.void)
        const leasing = yield* Effect.forkChild(b.lease("b", "run", 1000))
        yield* Effect.yieldNow
        assert.isFalse(yield* a.isLeasedElsewhere("a"))
        yield* Deferred.succeed(mayEnd, undefined)
        yield* Fiber.join(writing)
        assert.strictEqual((yield* Fiber.join(leasing)).number, 1)
        assert.isTrue(yield* a.isLeasedElsewhere("a"))
        assert.strictEqual(yield* tagOf(a.bypass(Effect.void)), "BufferLeased")
      })
    )
  )
})
