// One suite over every layer of CatalogStore: memory, embedded, a real PostgreSQL. Two instances over each.
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, type Layer, Option, Queue, Stream } from "effect"
import type { CatalogNotification, Change } from "../../src/catalog/CatalogEntry.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { CatalogStoreState } from "../../src/catalog/CatalogStoreState.ts"
import { embedded, pairOf, server } from "../support/DatabaseLayers.ts"

class Pair extends Context.Service<
  Pair,
  { readonly a: CatalogStore["Service"]; readonly b: CatalogStore["Service"] }
>()("test/CatalogStores") {}

const kinds = {
  memory: pairOf(Pair, CatalogStore, CatalogStore.layerShared, CatalogStoreState.layer),
  embedded: pairOf(Pair, CatalogStore, CatalogStore.layer, embedded),
  PostgreSQL: pairOf(Pair, CatalogStore, CatalogStore.layer, server)
}

const definition = { url: "http://x/", result: { b: "/b", a: "/a" } }
const tagOf = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) => Effect.flip(effect)

/** The changes of one key, as they come to an instance, from its first `Gap` on. */
const subscribed = Effect.fnUntraced(function* (store: CatalogStore["Service"]) {
  const queue = yield* Queue.unbounded<CatalogNotification>()
  yield* Effect.forkScoped(Stream.runForEach(store.changes, (one) => Queue.offer(queue, one)))
  const next = Effect.timeout(Queue.take(queue), "10 seconds")
  assert.deepEqual(yield* next, { _tag: "Gap" })
  const of = Effect.fnUntraced(function* (key: string, count: number) {
    const found: Array<Change> = []
    while (found.length < count) {
      const one = yield* next
      if (one._tag !== "Changed") return assert.fail(one._tag)
      found.push(...one.changes.filter((change) => change.key === key))
    }
    return found
  })
  return { of, queue }
})

for (const [kind, pair] of Object.entries<Layer.Layer<Pair, unknown>>(kinds)) {
  describe(`CatalogStore: ${kind}`, () => {
    layer(pair, { timeout: "60 seconds", excludeTestServices: true })((it) => {
      it.effect("creates, replaces and deletes with the version that is expected, and no other", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Pair
          for (const of of ["integration", "config"] as const) {
            const name = `edited ${of}`
            const content = { units: "metric", "größe ✓": [1, null] }
            const put = (expected: number | "none" | "some" | undefined) => a.put(of, name, content, expected)
            for (const expected of [1, "some"] as const) {
              assert.deepInclude(yield* tagOf(put(expected)), { _tag: "VersionMismatch", version: 0 })
            }
            assert.strictEqual(yield* put("none"), 1)
            for (const expected of ["none", 2] as const) {
              assert.deepInclude(yield* tagOf(put(expected)), { _tag: "VersionMismatch", version: 1 })
            }
            // The same content again is another version.
            assert.strictEqual(yield* put(1), 2)
            assert.strictEqual(yield* put("some"), 3)
            assert.strictEqual(yield* put(undefined), 4)
            assert.deepInclude(yield* b.find(of, name), { key: name, version: 4, content })
            assert.match((yield* b.find(of, name))?.updatedAt ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
            assert.deepEqual(yield* b.read(of, name), { version: 4, value: Option.some(content) })
            for (const expected of ["none", 3] as const) {
              assert.deepInclude(yield* tagOf(b.delete(of, name, expected)), { _tag: "VersionMismatch", version: 4 })
            }
            assert.strictEqual(yield* b.delete(of, name, 4), 5)
            for (const expected of [undefined, "some", "none", 5] as const) {
              assert.strictEqual((yield* tagOf(a.delete(of, name, expected)))._tag, "NotFound")
            }
            assert.isUndefined(yield* a.find(of, name))
            assert.deepEqual(yield* a.read(of, name), { version: 5, value: Option.none() })
            // A version never returns with other content.
            assert.deepInclude(yield* tagOf(put(5)), { _tag: "VersionMismatch", version: 0 })
            assert.strictEqual(yield* put(undefined), 6)
            assert.deepEqual(yield* b.versions(of, [name, "never"]), new Map([[name, 6]]))
          }
          assert.deepEqual(yield* a.read("config", "never"), { version: 0, value: Option.none() })
        })
      )

      it.effect("of edits of one version at once one is made", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Pair
          const version = yield* a.put("config", "raced", {}, undefined)
          const edits = [a, b, a, b].map((store, n) => Effect.exit(store.put("config", "raced", { n }, version)))
          const done = yield* Effect.all(edits, { concurrency: "unbounded" })
          assert.lengthOf(
            done.filter(({ _tag }) => _tag === "Success"),
            1
          )
          assert.deepEqual((yield* b.versions("config", ["raced"])).get("raced"), version + 1)
        })
      )

      it.effect("lists entries by key, in pages, with the order of a definition's fields", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Pair
          for (const n of [3, 1, 4, 2]) yield* a.put("integration", `listed${n}`, definition, undefined)
          const page = yield* b.list("integration", "listed1", 2)
          assert.deepEqual(
            page.map(({ key, version }) => `${key} ${version}`),
            ["listed2 1", "listed3 1"]
          )
          assert.strictEqual(JSON.stringify(page[0]?.content), JSON.stringify(definition))
        })
      )

      it.effect("writes a sample until it is edited; one with other content is another version", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Pair
          const version = () => Effect.map(b.versions("integration", ["sample"]), (found) => found.get("sample"))
          yield* a.putSample("sample", definition)
          yield* b.putSample("sample", definition)
          assert.strictEqual(yield* version(), 1)
          yield* a.putSample("sample", { url: "http://y/" })
          assert.strictEqual(yield* version(), 2)
          assert.strictEqual(yield* a.put("integration", "sample", definition, "some"), 3)
          yield* b.putSample("sample", { url: "http://z/" })
          assert.deepEqual(yield* b.read("integration", "sample"), { version: 3, value: Option.some(definition) })
        })
      )

      it.effect("every change comes to all instances, in its order, from the gap on", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Pair
          yield* Effect.all([a.ready, b.ready])
          const [atA, atB] = [yield* subscribed(a), yield* subscribed(b)]
          yield* a.put("config", "watched", { n: 1 }, undefined)
          yield* b.put("config", "watched", { n: 2 }, undefined)
          yield* a.delete("config", "watched", undefined)
          const expected = [1, 2, 3].map((version) => ({ kind: "config", key: "watched", version }))
          for (const { of } of [atA, atB]) assert.deepEqual(yield* of("watched", 3), expected)
        }).pipe(Effect.scoped)
      )
    })
  })
}
