// The list of a store's instances, over each of its layers.
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Redacted, type Scope } from "effect"
import {
  type Heartbeat,
  makeDatabaseRoster,
  makeRedisRoster,
  type StoreRoster
} from "../../src/cluster/stores/StoreRoster.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import * as Redis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { freshDatabase } from "../support/Databases.ts"
import { makeMemoryRoster } from "../support/MemoryRoster.ts"
import { id } from "../support/RoomStores.ts"
import { sharedCluster, sharedRedis } from "../support/SharedServers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const entry = (beat: number, more: Partial<Heartbeat> = {}): Heartbeat => ({
  beat,
  acked: beat - 1,
  isUp: true,
  isAlone: false,
  state: "active",
  place: "here:1",
  label: "a store, with 'quotes', spaces and ünicode",
  ...more
})

const inRedis = (url: string, prefix: string) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      Layer.fresh(
        Redis.layer({ url: Redacted.make(url), commandTimeout: Duration.seconds(2), maxInFlight: 100, prefix })
      )
    )
    const state = Context.get(context, RedisHealth)
    yield* untilEffect(state.check)
    // It is what finds out whether the fence may be opened.
    state.setFenced(true)
    return yield* Effect.provideContext(makeRedisRoster, context)
  })

const inDatabase = Effect.gen(function* () {
  const url = yield* Effect.promise(() => freshDatabase())
  const context = yield* Layer.build(Postgres.layer({ url: Redacted.make(url), timeout: Duration.seconds(5) }))
  return yield* Effect.provideContext(makeDatabaseRoster, context)
})

const kinds: Record<string, () => Effect.Effect<StoreRoster, unknown, Scope.Scope>> = {
  memory: () => Effect.sync(makeMemoryRoster),
  Redis: () => Effect.flatMap(Effect.promise(sharedRedis), (url) => inRedis(url, id())),
  "Redis Cluster": () => Effect.flatMap(Effect.promise(sharedCluster), (url) => inRedis(url, id())),
  PostgreSQL: () => inDatabase
}

for (const [kind, make] of Object.entries(kinds)) {
  describe(`StoreRoster: ${kind}`, () => {
    it.live("lists who announced themselves, as they did last, in the order they came, until they leave", () =>
      Effect.gen(function* () {
        const roster = yield* make()
        assert.deepInclude((yield* roster.heartbeat("a", entry(1)))[0], { ...entry(1), instance: "a" })
        yield* roster.heartbeat("b", entry(7, { state: "waiting" }))
        const listed = yield* roster.heartbeat("a", entry(2, { isUp: false, state: "refused" }))
        const [first, second] = [...listed].sort((x, y) => x.since - y.since)
        assert.lengthOf(listed, 2)
        assert.deepInclude(first, { ...entry(2, { isUp: false, state: "refused" }), instance: "a" })
        assert.deepInclude(second, { ...entry(7, { state: "waiting" }), instance: "b" })
        assert.isBelow(first?.since ?? 0, second?.since ?? 0)
        for (const { ageMs } of listed) assert.isAtLeast(ageMs, 0)
        // Whoever comes back comes last.
        yield* roster.leave("a")
        const again = [...(yield* roster.heartbeat("a", entry(1)))].sort((x, y) => x.since - y.since)
        assert.deepEqual(
          again.map(({ instance }) => instance),
          ["b", "a"]
        )
        yield* roster.leave("nobody")
      }).pipe(Effect.scoped)
    )

    it.live("of many who come at once, each pair has one that finds the other", () =>
      Effect.gen(function* () {
        const roster = yield* make()
        const names = Array.from({ length: 8 }, (_, n) => `i${n}`)
        const lists = yield* Effect.forEach(names, (name) => roster.heartbeat(name, entry(1)), { concurrency: 8 })
        for (const [n, own] of names.entries()) {
          for (const [m, other] of names.entries()) {
            if (n === m) continue
            const finds = lists[n]?.some(({ instance }) => instance === other)
            const isFound = lists[m]?.some(({ instance }) => instance === own)
            assert.isTrue(finds === true || isFound === true, `${own} and ${other}`)
          }
        }
        const all = yield* roster.heartbeat("i0", entry(2))
        assert.strictEqual(new Set(all.map(({ since }) => since)).size, names.length)
      }).pipe(Effect.scoped)
    )
  })
}
